"""What the oracle remembers, as plain records in plain containers, and how money moves between accounts."""

from collections import Counter
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, get_args

from schemas.events import AnyEvent, Posting, WhyUnfilled

AMOUNT_MAX = 4 * 10**18
RESERVED = ("venue", "guarantee")
EVENTS = {each.model_fields["type"].default: each for each in get_args(get_args(AnyEvent)[0])}
RESTING = ("GTG", "GTD")


class Refused(Exception):
    """A command breaks a rule; nothing has changed."""

    def __init__(self, code: str, order_id: int | None = None, why: WhyUnfilled | None = None):
        super().__init__(code)
        self.code, self.order_id, self.why = code, order_id, why


def need(kept: Any, code: str) -> None:
    if not kept:
        raise Refused(code)


class Thing:
    """A record of whatever fields it is made with."""

    def __init__(self, **fields: Any):
        self.__dict__.update(fields)


class World:
    """Everything between two records."""

    def __init__(self) -> None:
        self.shard = self.ruleset = self.seq = self.offset = self.next_offset = self.now = self.epoch = 0
        self.link = bytes(32)
        self.last: Counter[str] = Counter()  # the last id of orders, trades, positions and claims
        self.balances: dict[tuple[str, str], list[int]] = {}
        self.supply: Counter[str] = Counter()
        self.transfers: set[str] = set()
        self.deadlines: dict[tuple[int, str | int], int | None] = {}  # when, by kind and id
        self.live: dict[int, Thing] = {}  # resting orders and waiting blocks
        self.positions: dict[int, Thing] = {}
        self.keys, self.numbers, self.products, self.contracts, self.nodes = {}, {}, {}, {}, {}
        self.programmes, self.groups, self.limits, self.protections = {}, {}, {}, {}
        self.sessions: set[tuple[str, str]] = set()  # those with a timer
        self.bindings, self.listings, self.escrows, self.pending = {}, {}, {}, {}
        self.for_sale, self.gpu_nodes = {}, {}  # by UUID
        self.claims, self.pulls, self.events = [], [], []
        self.drawing = None  # what the order in hand draws on vouchers

    def emit(self, kind: str, /, **fields: Any) -> None:
        self.events.append((EVENTS[kind], fields))

    def next(self, kind: str) -> int:
        self.last[kind] += 1
        return self.last[kind]

    # -- money

    def available(self, account: str, asset: str) -> int:
        return self.balances.get((account, asset), (0, 0))[0]

    def need_money(self, account: str, asset: str, amount: int) -> None:
        """Refuses what is not there. [C-2]"""
        need(amount <= AMOUNT_MAX, "amount_overflow")
        need(amount <= self.available(account, asset), "insufficient_funds")

    def post(self, *moves: tuple[str, str, int, int]) -> tuple[Posting, ...]:
        """Applies one event's moves (account, asset, available, held): one posting for each pair that changes. [C-1]"""
        net: dict[tuple[str, str], list[int]] = {}
        for account, asset, available, held in moves:
            delta = net.setdefault((account, asset), [0, 0])
            delta[0] += available
            delta[1] += held
        postings = []
        for key, (available, held) in sorted(net.items()):
            if available or held:
                balance = self.balances.setdefault(key, [0, 0])
                balance[0] += available
                balance[1] += held
                assert min(balance) >= 0, f"negative balance of {key}"
                postings.append(Posting(*key, available, held, *balance))
        return tuple(postings)

    def digest(self) -> str:
        """SHA-256 over all balances. [C-13]"""
        rows = (f"{account}|{asset}|{a}|{h}\n" for (account, asset), (a, h) in sorted(self.balances.items()))
        return sha256("".join(rows).encode()).hexdigest()


def held(account: str, asset: str, amount: int) -> tuple[str, str, int, int]:
    """The move of an amount from available to held; a negative one back."""
    return account, asset, -amount, amount


# -- amounts: rounded up per GPU and period


def ceil(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)


def unit(terms: Any, price: int) -> int:
    """What a GPU costs for a period. [C-3]"""
    return ceil(price * terms.period_s, 3600)


def fee(amount: int, bps: int) -> int:
    """The fee on what a GPU costs. [C-4]"""
    return ceil(amount * bps, 10_000)


def bid_unit(terms: Any, price: int) -> int:
    """What a bid holds for a GPU: its cost, and the dearer fee. [C-5]"""
    return unit(terms, price) + fee(unit(terms, price), max(terms.maker_fee_bps, terms.taker_fee_bps))


def bond_unit(w: World, terms: Any, node: Thing, price: int) -> int:
    """What an ask holds for a GPU: a share by the node's level, of its price or of the last index. [C-6]"""
    permille = terms.bond_permille[int(node.level[1])]
    return ceil(permille * max(price, w.products[terms.product].index or 0) * terms.period_s, 3_600_000)


# -- products, contracts, books


def product_of(w: World, contract: str) -> Thing:
    return w.products[contract.rpartition("-")[0]]


def start_of(contract: str) -> int | None:
    digits = contract.rpartition("-")[2].ljust(12, "0")
    try:
        return int(datetime.strptime(digits, "%y%m%d%H%M%S").replace(tzinfo=UTC).timestamp())
    except ValueError:
        return None


def name_at(product: Thing, start: int) -> str:
    digits = "%y%m%d%H" if product.newest.period_s == 3600 else "%y%m%d%H%M%S"
    return f"{product.name}-{datetime.fromtimestamp(start, UTC).strftime(digits)}"


def terms_at(product: Thing, start: int) -> Any:
    return [terms for since, terms in product.versions if since <= start][-1]


def terms_of(w: World, contract: str) -> Any:
    return terms_at(product_of(w, contract), start_of(contract))


def gate_ms(product: Thing, start: int) -> int:
    return (start - product.newest.gate_lead_s) * 1000


def is_known(product: Thing, start: int | None) -> bool:
    return (
        start is not None
        and start % product.newest.period_s == 0
        and product.versions[0][0] <= start <= product.listed_to
    )


def find_contract(w: World, contract: str) -> int:
    """The start of a contract that is or was listed. [M-1]"""
    product = w.products.get(contract.rpartition("-")[0])
    need(product, "unknown_product")
    start = start_of(contract)
    need(is_known(product, start) and name_at(product, start) == contract, "unlisted_contract")
    return start


def need_open(w: World, name: str, start: int, periods: int) -> list[str]:
    """The contracts of consecutive periods, all of them listed and before their gates."""
    product = w.products.get(name)
    need(product, "unknown_product")
    starts = [start + step * product.newest.period_s for step in range(periods)]
    need(is_known(product, starts[0]) and is_known(product, starts[-1]), "unlisted_contract")
    need(all(each in product.open for each in starts), "gate_closed")
    return [name_at(product, each) for each in starts]


def need_trading(product: Thing, waits: bool = True) -> None:
    """Refuses new orders unless the product is open, or in auction and they can wait. [M-6]"""
    codes = {"CLOSED": "product_closed", "CANCEL_ONLY": "product_cancel_only", "HALTED": "product_halted"}
    need(product.state not in codes, codes.get(product.state, ""))
    need(product.state == "OPEN" or waits, "not_in_auction")


def touch(w: World, contract: str) -> Thing:
    """The contract, remembered from now on."""
    fields = {"product": contract.rpartition("-")[0], "start": start_of(contract), "state": "OPEN", "index": None}
    known = Thing(name=contract, **fields, positions=[], last=None, indicated=None, recent=[])
    return w.contracts.setdefault(contract, known)


def reference(w: World, contract: str) -> int | None:
    known = w.contracts.get(contract)
    return product_of(w, contract).index or (known.last if known else None)


def resting(w: World, contract: str, side: str) -> list[Thing]:
    """One side of a book: the best price first, at a price the oldest. [M-8]"""
    found = [each for each in w.live.values() if each.contract == contract and each.side == side]
    return sorted(found, key=lambda each: (-each.price if side == "buy" else each.price, each.rank or each.id))


def best(w: World, contract: str, side: str) -> Thing | None:
    return next(iter(resting(w, contract, side)), None)


def live_of(w: World, account: str) -> list[Thing]:
    """Everything live of an account, oldest first."""
    return sorted((each for each in w.live.values() if each.account == account), key=lambda each: each.id)


def enter_state(w: World, product: Thing, state: str, reason: str, opens_after_s: int | None = None) -> None:
    product.state = state
    product.opens_ms = None if opens_after_s is None else w.now + opens_after_s * 1000
    w.deadlines[7, product.name] = product.opens_ms
    w.emit("product_state_changed", product=product.name, state=state, reason=reason, opens_ms=product.opens_ms)
