"""Random command logs: small worlds in which orders meet, money runs out, gates close, nodes fail and services err.

A log is drawn as a list of seeds, one for each move, so that a failing log shrinks to the moves that matter; the same
logs drive every engine.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, get_args

from hypothesis import strategies as st

from schemas.base import Model
from schemas.orders import (
    CancelAllAfter,
    CancelOrder,
    MassCancel,
    PlaceBatch,
    PlaceBlock,
    PlaceOrder,
    PostCapacity,
    ReplaceOrder,
    RepriceCapacity,
    Resell,
    SelfTradePrevention,
    SetProtection,
    WithdrawCapacity,
)
from schemas.trading_rules import ScheduledState, TradingRules
from schemas.venue import (
    Allocate,
    CancelAccountOrders,
    CloseDispute,
    Credit,
    Deallocate,
    Debit,
    EndBlock,
    Epoch,
    IndexFixed,
    LockHardware,
    NodeDown,
    NodeGpu,
    NodesAlive,
    NominateGpus,
    Nomination,
    OpenDispute,
    OpenEscrow,
    RefundEscrow,
    RegisterNode,
    ReleaseEscrow,
    SetAccountLimits,
    SetProductState,
    SettleDisputed,
    SettlePosition,
    Tick,
    UnlockHardware,
    VenueCommand,
    VoidContract,
)
from schemas.vouchers import DefineProgramme, DefundProgramme, FundProgramme, IssueVoucher, SetAffiliation
from tests.scenarios.venue import (
    MIDNIGHT_MS,
    PRODUCT,
    contract_of,
    genesis,
    gpu_uuid,
    hour_start_s,
    product_terms,
    signed,
)

ACCOUNTS = ("alice", "bob", "op", "operator.2")
NODES = {"n1": ("op", 4), "n2": ("op", 8), "n3": ("operator.2", 16), "n4": ("alice", 2)}
PRODUCTS = (PRODUCT, "H100SXM80.CNE.I", "H100SXM80X8.CNE.M", "H100SXM80.CNE.M")
CURRENCIES = ("CNY", "USD", "CNY", "CNY")
PROGRAMMES = {"CITY": "city", "DELTA": "city", "USA": "operator.2"}
PRICES = [1_000_000, 1_100_000, 1_200_000, 1_300_000, 1_400_000]
DIGEST = "ab" * 32
HOUR_MS = 3_600_000
Record = tuple[int, int, bytes]


@dataclass
class Log:
    """A log being written: moves append records, services number their batches."""

    rng: Random = field(default_factory=lambda: Random(0))
    now_ms: int = MIDNIGHT_MS
    records: list[Record] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)

    def append(self, value: Model | bytes) -> None:
        raw = value if isinstance(value, bytes) else value.canonical()
        self.records.append((len(self.records), self.now_ms, raw))

    def batch(self, source: str, *commands: VenueCommand) -> None:
        self.numbers[source] = self.numbers.get(source, 0) + 1
        self.append(signed(source, self.numbers[source], commands))

    def one_in(self, times: int) -> bool:
        return self.rng.randrange(times) == 0

    def mostly(self, usual: Any, seldom: Any, times: int = 20) -> Any:
        """One of the usual values, and once in a while another."""
        return self.rng.choice(seldom if self.one_in(times) else usual)

    def ids(self) -> dict[str, str]:
        """A new client id, or one that may have been used before."""
        number = self.rng.randrange(len(self.records)) if self.one_in(15) else len(self.records)
        return {"command_id": f"c-{len(self.records)}", "client_order_id": f"id-{number}"}

    def hour(self) -> int:
        """An hour whose gate is open, more often than not."""
        soonest = (self.now_ms - MIDNIGHT_MS) // HOUR_MS + 1
        return soonest + self.mostly([0, 1, 2], [-1, 5, 40])

    def product(self) -> str:
        return self.mostly([PRODUCT, PRODUCT, *PRODUCTS], ["H20SXM96.CNE.F"])

    def price(self) -> int:
        return self.mostly(PRICES, [1, 1_000_001, 10**12], 40)

    def gpus(self, product: str) -> int:
        lot = 8 if "X8" in product and not self.one_in(10) else 1
        return lot * self.mostly([1, 2, 3] if lot == 1 else [1, 2], [8, 125_000], 30)

    def tif(self) -> str:
        return self.mostly(["GTG"], ["IOC", "FOK"], 5)


def gpus_of(node: str, count: int) -> tuple[NodeGpu, ...]:
    uuids = [gpu_uuid(node, place) for place in range(count)]
    return tuple(NodeGpu(uuid=uuid, serial=uuid.removeprefix("GPU-")) for uuid in uuids)


def register(node: str, level: str, count: int | None = None, account: str | None = None) -> RegisterNode:
    owner, gpus = NODES[node]
    grade = "H100SXM80X8" if node == "n3" else "H100SXM80"
    entries = gpus_of(node, gpus if count is None else count)
    return RegisterNode(node=node, account=account or owner, grade=grade, hub="CNE", level=level, gpus=entries)


def credit(transfer_id: str, account: str, amount_micros: int, asset: str = "CNY") -> Credit:
    return Credit(transfer_id=transfer_id, account=account, asset=asset, amount_micros=amount_micros)


def open_venue(fee_bps: int, trials: int) -> Log:
    """A log with products, money and nodes, ready to trade."""
    log = Log()
    log.append(Tick())
    log.append(genesis())
    terms: dict[str, Any] = {"taker_fee_bps": fee_bps, "maker_fee_bps": fee_bps // 3, "horizon_periods": 6}
    terms |= {"block_trials_per_command": trials, "final_after_s": 7200, "bond_permille": (1000, 500, 0, 101)}
    products = zip(PRODUCTS, CURRENCIES, strict=True)
    log.batch("admin", *(product_terms(product, **terms, currency=currency) for product, currency in products))
    for place, account in enumerate(ACCOUNTS):
        credits_ = (credit(f"first-{place}-{asset}", account, 150_000_000, asset) for asset in ("CNY", "USD"))
        log.batch("ledger", *credits_)
    for place, node in enumerate(NODES):
        log.batch("delivery", register(node, f"T{place % 4}"))
    log.batch("delivery", NodesAlive(nodes=tuple(NODES), until_ms=MIDNIGHT_MS + 40 * HOUR_MS))
    fund_and_issue(log)
    return log


def define_programmes() -> list[DefineProgramme]:
    """Two of one issuer that overlap, and one in dollars whose issuer rents GPUs out himself."""
    common = {"grades": (), "tiers": (), "starts_ms": 0}
    city = {"programme": "CITY", "issuer": "city", "currency": "CNY", "expires_ms": MIDNIGHT_MS + 4 * HOUR_MS}
    delta = {"programme": "DELTA", "issuer": "city", "currency": "CNY", "expires_ms": MIDNIGHT_MS + 9 * HOUR_MS}
    usa = {"programme": "USA", "issuer": "operator.2", "currency": "USD", "expires_ms": MIDNIGHT_MS + 90 * HOUR_MS}
    city |= {"hubs": (), "operators": (), "copay_permille": 200, "holder_cap_micros": 30_000_000, "unaffiliated": True}
    delta |= {"hubs": ("CNE",), "operators": ("op", "alice"), "copay_permille": 0}
    delta |= {"holder_cap_micros": None, "unaffiliated": False}
    usa |= {"hubs": (), "operators": (), "copay_permille": 333, "holder_cap_micros": None, "unaffiliated": False}
    return [DefineProgramme(**common, **terms) for terms in (city, delta, usa)]


def fund_and_issue(log: Log) -> None:
    """Every programme has a budget, and everyone some of its vouchers."""
    log.batch("ledger", credit("city", "city", 300_000_000))
    log.batch("admin", *define_programmes())
    for name, issuer in PROGRAMMES.items():
        terms = {"programme": name, "issuer": issuer}
        issues = (
            IssueVoucher(transfer_id=f"{name}-{each}", **terms, account=each, amount_micros=7_654_321)
            for each in ACCOUNTS
        )
        fund = FundProgramme(transfer_id=f"fund-{name}", **terms, amount_micros=40_000_000)
        log.batch("ledger", fund, *issues)


# -- moves of traders and operators


def place_order(log: Log) -> None:
    """Any order for one contract."""
    log.append(an_order(log))


def an_order(log: Log) -> PlaceOrder:
    rng, product = log.rng, log.product()
    side = rng.choice(["buy", "buy", "sell"])
    node = log.mostly(["n3"] if "X8" in product else ["n1", "n2", "n4"], ["n9", "n3"])
    if side == "sell" and log.one_in(4):
        node = None
    market = log.one_in(6) if side == "buy" or node is None else log.one_in(60)
    account = rng.choice(ACCOUNTS)
    if side == "sell" and node in NODES and not log.one_in(20):
        account = NODES[node][0]
    terms = {
        "account": account,
        "contract": contract_of(log.hour(), product),
        "side": side,
        "kind": "market" if market else "limit",
        "qty": log.gpus(product),
        "price_micros": None if market else log.price(),
        "max_cost_micros": rng.choice([1_000_000, 3_000_000, 30_000_000]) if market else None,
        "tif": log.tif(),
        "post_only": log.one_in(12),
        "node": node if side == "sell" else None,
        "stp": "cancel_newest",
    }
    terms |= conditions(log, product) if log.one_in(2) else {}
    if (side == "buy" and log.one_in(3)) or log.one_in(40):
        terms |= with_vouchers(log) | {"post_only": log.one_in(40), "display_qty": None, "expires_ms": None}
    return PlaceOrder(**log.ids(), **terms)


def with_vouchers(log: Log) -> dict[str, Any]:
    """Mostly immediate, as such an order must be."""
    return {"use_vouchers": True, "tif": log.mostly(["IOC", "IOC", "FOK"], ["GTG"])}


def conditions(log: Log, product: str) -> dict[str, Any]:
    """Terms that few orders have; larger quantities let icebergs show more than one part."""
    lot = 8 if "X8" in product else 1
    changes: dict[str, Any] = {"stp": log.rng.choice(get_args(SelfTradePrevention))}
    if log.one_in(2):
        changes |= {"display_qty": lot * log.mostly([1, 2], [3, 99]), "qty": lot * log.mostly([1, 2, 5], [9])}
    if log.one_in(3):
        changes |= {"tif": log.mostly(["GTD"], ["GTG", "IOC"]), "expires_ms": end_ms(log)}
    if log.one_in(4):
        changes |= {"min_qty": lot * log.mostly([1, 2], [3, 99])}
    return changes


def end_ms(log: Log) -> int:
    return max(1, log.now_ms + log.mostly([1, 60_000, 900_000, HOUR_MS], [-1, 0, 9 * HOUR_MS]))


def place_block(log: Log) -> None:
    product = log.product()
    qty = log.gpus(product)
    start = log.hour()
    latest = start + log.mostly([0, 1, 2], [-1, 40]) if log.one_in(3) else None
    terms = {
        "account": log.rng.choice(ACCOUNTS),
        "product": product,
        "start_s": hour_start_s(start),
        "latest_s": None if latest is None else hour_start_s(latest),
        "periods": log.mostly([1, 2, 3], [9]),
        "qty": qty,
        "min_qty": log.mostly([qty, 8 if "X8" in product else 1], [min(qty + 1, 1_000_000)]),
        "limit_price_micros": log.price(),
        "max_cost_micros": log.mostly([None], [1, 4_000_000, 9_000_000], 3),
        "tif": log.tif(),
        "stp": "cancel_newest",
    }
    log.append(PlaceBlock(**log.ids(), **terms | (with_vouchers(log) if log.one_in(3) else {})))


def post_capacity(log: Log) -> None:
    node, first, curve = log.rng.choice([*NODES]), log.hour(), log.one_in(4)
    product = PRODUCTS[2] if node == "n3" else log.mostly([PRODUCT, PRODUCT, PRODUCTS[1]], [PRODUCTS[2]])
    log.append(
        PostCapacity(
            **log.ids(),
            account=log.mostly([NODES[node][0]], ACCOUNTS),
            product=product,
            node=node,
            gpus=log.gpus(product),
            from_s=hour_start_s(first),
            to_s=hour_start_s(first + log.mostly([1, 2, 3], [0, 30])),
            floor_price_micros=None if curve else log.price(),
            floor_curve_micros=tuple(PRICES[hour % 5] for hour in range(24)) if curve else None,
            ttl_s=log.mostly([None], [1, 600, 7200], 3),
            split=log.one_in(2) if node == "n3" else log.one_in(30),
        )
    )


def change_capacity(log: Log) -> None:
    """Reprices or withdraws what may be a capacity order."""
    named = {
        "command_id": f"c-{len(log.records)}",
        "account": log.mostly(["op", "operator.2"], ACCOUNTS),
        "order_id": None,
        "client_order_id": f"id-{log.rng.randrange(len(log.records))}",
    }
    if log.one_in(3):
        named |= {"order_id": log.rng.randrange(1, len(log.records)), "client_order_id": None}
    if log.one_in(2):
        first = log.hour()
        window = {"from_s": hour_start_s(first), "to_s": hour_start_s(first + log.rng.randrange(3))}
        log.append(WithdrawCapacity(**named, **window))
    elif log.one_in(2):
        log.append(RepriceCapacity(**named, floor_price_micros=log.price(), floor_curve_micros=None))
    else:
        curve = tuple(log.rng.choice(PRICES) for _ in range(24))
        log.append(RepriceCapacity(**named, floor_price_micros=None, floor_curve_micros=curve))


def resell(log: Log) -> None:
    product, first = log.product(), log.hour()
    of_block, of_position = log.one_in(3), log.one_in(3)
    log.append(
        Resell(
            **log.ids(),
            account=log.rng.choice(ACCOUNTS),
            product=product,
            position_id=log.rng.randrange(1, 20) if of_position else None,
            block_id=log.rng.randrange(1, len(log.records)) if of_block else None,
            from_s=hour_start_s(first) - log.mostly([0], [60]),
            to_s=hour_start_s(first + log.mostly([1, 2, 3], [0, 30])),
            qty=log.gpus(product),
            price_micros=log.price(),
        )
    )


def cancel(log: Log) -> None:
    order = log.rng.randrange(1, len(log.records))
    by_ours = log.rng.random() < 0.5
    log.append(
        CancelOrder(
            command_id=f"c-{len(log.records)}",
            account=log.rng.choice(ACCOUNTS),
            order_id=order if by_ours else None,
            client_order_id=None if by_ours and not log.one_in(9) else f"id-{order}",
        )
    )


def mass_cancel(log: Log) -> None:
    filters = {
        "account": log.rng.choice(ACCOUNTS),
        "product": log.mostly([None], [log.product()], 3),
        "contract": log.mostly([None], [contract_of(log.hour())], 3),
        "side": log.rng.choice([None, "buy", "sell"]),
        "from_s": log.mostly([None], [hour_start_s(log.hour())], 2),
        "to_s": log.mostly([None], [hour_start_s(log.hour())], 3),
    }
    if log.one_in(3):
        log.batch("admin", CancelAccountOrders(**filters, reason="test"))
    else:
        log.append(MassCancel(command_id=f"c-{len(log.records)}", **filters))


def replace(log: Log) -> None:
    """Other terms for one of the last orders, whoever owns it."""
    log.append(a_replace(log))


def a_replace(log: Log) -> ReplaceOrder:
    order, by_ours = log.rng.randrange(1, len(log.records)), log.rng.random() < 0.5
    return ReplaceOrder(
        command_id=f"c-{len(log.records)}",
        account=log.rng.choice(ACCOUNTS),
        order_id=order if by_ours else None,
        client_order_id=None if by_ours and not log.one_in(9) else f"id-{order}",
        replace_id=log.mostly([None, f"r-{len(log.records)}"], [f"id-{order}", f"r-{order}"], 4),
        qty=log.mostly([None, 1, 2, 5], [8, 16]),
        price_micros=log.rng.choice([None, log.price(), log.price()]),
        expires_ms=log.mostly([None], [end_ms(log)], 3),
    )


def replace_own(log: Log) -> None:
    """Places an order and replaces it, mostly with something that changes."""
    order = an_order(log).model_copy(update={"kind": "limit", "tif": "GTG", "expires_ms": None, "min_qty": None})
    order = order.model_copy(update={"max_cost_micros": None, "price_micros": log.price()})
    log.append(order)
    place_order(log)
    again = a_replace(log).model_copy(update={"account": order.account, "order_id": None})
    log.append(again.model_copy(update={"client_order_id": order.client_order_id}))


def batch(log: Log) -> None:
    account, size = log.rng.choice(ACCOUNTS), log.rng.randrange(1, 6)
    drawn = [log.mostly([an_order], [a_replace], 3)(log) for _ in range(size)]
    members = [each.model_copy(update={"account": account, "command_id": f"m-{i}"}) for i, each in enumerate(drawn)]
    names = {"client_order_id": f"id-{len(log.records)}"}
    members[0] = members[0].model_copy(update=names if isinstance(members[0], PlaceOrder) else {})
    stranger = log.mostly([account], ACCOUNTS)
    log.append(PlaceBatch(command_id=f"c-{len(log.records)}", account=stranger, members=tuple(members)))


def fall_silent(log: Log) -> None:
    log.append(
        CancelAllAfter(
            command_id=f"c-{len(log.records)}",
            account=log.rng.choice(ACCOUNTS),
            session=log.rng.choice(["s1", "s2"]),
            timeout_ms=log.rng.choice([0, 1, 60_000, 900_000, HOUR_MS]),
        )
    )


def pass_time(log: Log) -> None:
    """Time goes on, mostly with a tick; a broker's clock may also step back."""
    log.now_ms += log.mostly([1, 250, 60_000, 900_000], [HOUR_MS, HOUR_MS, 2 * HOUR_MS, -5_000], 4)
    if not log.one_in(5):
        log.append(Tick())


# -- moves of the venue's services


def move_money(log: Log) -> None:
    transfer = {
        "transfer_id": f"transfer-{log.rng.randrange(60)}",
        "account": log.rng.choice([*ACCOUNTS, "venue", "guarantee"]),
        "asset": log.mostly(["CNY", "USD"], ["EUR"]),
        "amount_micros": log.mostly([1, 2_000_000, 20_000_000, 100_000_000], [4 * 10**18]),
    }
    shard = log.mostly([1, 2], [0], 8)
    commands = [
        Credit(**transfer),
        Debit(**transfer),
        Deallocate(**transfer, to_shard=shard),
        Allocate(**transfer, from_shard=shard),
    ]
    log.batch("ledger", *log.rng.sample(commands, log.rng.choice([1, 1, 2])))


def move_vouchers(log: Log) -> None:
    """Budgets and vouchers; some name another's programme, or one that there is not."""
    name = log.mostly([*PROGRAMMES], ["NONE"])
    transfer = {
        "transfer_id": f"voucher-{log.rng.randrange(60)}",
        "programme": name,
        "issuer": log.mostly([PROGRAMMES.get(name, "city")], ["bob"]),
        "amount_micros": log.mostly([1, 777_777, 3_000_000], [10**12]),
    }
    issue = IssueVoucher(**transfer, account=log.mostly(ACCOUNTS, ["city", "venue"]))
    log.batch("ledger", log.rng.choice([FundProgramme(**transfer), DefundProgramme(**transfer), issue, issue]))
    if log.one_in(4):
        group = SetAffiliation(account=log.rng.choice(ACCOUNTS), group=log.rng.choice(["g1", "g2", None]))
        log.batch("admin", group, *define_programmes())


def change_node(log: Log) -> None:
    node, rng = log.rng.choice([*NODES]), log.rng
    alive = NodesAlive(
        nodes=(node, "n9"), until_ms=max(0, log.now_ms + log.mostly([12 * HOUR_MS], [0, 250, HOUR_MS], 3))
    )
    if log.one_in(3):
        elsewhere = register("n2", "T1").model_copy(update={"gpus": gpus_of("n1", 2)})
        usual = register(node, rng.choice(["T0", "T3"]), log.mostly([NODES[node][1]], range(9), 3))
        log.batch("delivery", log.mostly([usual], [elsewhere, register(node, "T1", account="bob")], 8), alive)
    elif log.one_in(4):
        log.batch("delivery", NodeDown(node=log.mostly([node], ["n9"]), reason="gpu_lost"))
    else:
        log.batch("delivery", alive)


def nominate(log: Log) -> None:
    """Nominates GPUs of every node for positions of the hour that is due; most of it is refused."""
    hour = (log.now_ms - MIDNIGHT_MS) // HOUR_MS + log.rng.choice([0, 1])
    commands = []
    for _ in range(8):
        node, position = log.rng.choice([*NODES]), log.rng.randrange(1, 12)
        places = log.rng.sample(range(NODES[node][1]), log.rng.randrange(1, 3))
        nominations = (Nomination(position_id=position, gpus=tuple(gpu_uuid(node, place) for place in places)),)
        contract = contract_of(hour, log.product())
        commands.append(NominateGpus(contract=contract, node=node, nominations=nominations * log.mostly([1], [0, 2])))
    log.batch("delivery", *commands)


def fix_index(log: Log) -> None:
    hour = (log.now_ms - MIDNIGHT_MS) // HOUR_MS + log.mostly([0, 1], [-1, 3])
    contract = contract_of(hour, log.product())
    fixed = {"level": 1, "method": "v1", "inputs_digest": DIGEST}
    log.batch("market_data", IndexFixed(contract=contract, index_micros=log.rng.choice(PRICES), **fixed))


def settle(log: Log) -> None:
    """Delivery settles positions in one batch; those that cannot be are refused one by one."""
    rng, commands = log.rng, []
    for position in rng.sample(range(1, 16), 8):
        delivered = log.mostly([rng.randrange(7201), 3600, 3000], [20_000, 0], 8)
        facts = {
            "position_id": position,
            "revision": log.mostly([1, 1, 2], [3]),
            "excused_gpu_s": log.mostly([0], [600], 6),
            "delivered_gpu_s": delivered,
            "used_gpu_s": rng.randrange(delivered + 1) if not log.one_in(20) else delivered + 1,
            "noticed": log.one_in(3),
            "recalled_gpus": log.mostly([0, 1], [9]),
            "meter_digest": DIGEST,
        }
        if log.one_in(3):
            disputed = {"disputed_gpu_s": rng.choice([0, 36, 600]), "disputed_used_gpu_s": rng.choice([0, 36])}
            commands.append(SettleDisputed(**facts, **disputed))
        else:
            commands.append(SettlePosition(**facts))
    log.batch("delivery", *commands)


def dispute(log: Log) -> None:
    """Disputes of positions, opened and closed; those that cannot be are refused one by one."""
    rng, commands = log.rng, []
    for position in rng.sample(range(1, 16), 8):
        opening = OpenDispute(position_id=position, opened_by=rng.choice(["buyer", "operator"]), reason="test")
        commands.append(rng.choice([opening, CloseDispute(position_id=position, reason="test")]))
    log.batch("delivery", *commands)


def end_block(log: Log) -> None:
    """An account ends whatever blocks it has among many ids."""
    first, account = 1 + log.rng.randrange(len(log.records)), log.rng.choice(ACCOUNTS)
    commands = [EndBlock(block_id=first + n, account=account, reason="outage") for n in range(80)]
    log.batch("delivery", *commands)


def void_contract(log: Log) -> None:
    """By the venue's fault; mostly too early or too late."""
    hour = (log.now_ms - MIDNIGHT_MS) // HOUR_MS + log.mostly([0, 0, -1], [1, -2])
    log.batch("delivery", VoidContract(contract=contract_of(hour, log.product()), reason="meter_lost"))


def sell_hardware(log: Log) -> None:
    """A listing's life, step by step; with two of each, most steps find the listing in some state."""
    rng, node = log.rng, log.rng.choice([*NODES])
    listing, escrow = f"L{rng.randrange(6)}", f"E{rng.randrange(6)}"
    uuids = tuple(gpu_uuid(node, place) for place in rng.sample(range(NODES[node][1]), rng.randrange(1, 3)))
    amounts = {"amount_micros": rng.randrange(1_000_000, 9_000_000), "fee_micros": rng.choice([0, 1_000, 10_000_000])}
    parties = {"buyer": rng.choice(ACCOUNTS), "seller": NODES[node][0], "asset": "CNY"}
    commands = [
        LockHardware(listing_id=listing, account=NODES[node][0], gpus=uuids),
        LockHardware(listing_id=listing, account=NODES[node][0], gpus=uuids),
        OpenEscrow(escrow_id=escrow, listing_id=listing, **parties, **amounts),
        OpenEscrow(escrow_id=escrow, listing_id=listing, **parties, **amounts),
        UnlockHardware(listing_id=listing),
        ReleaseEscrow(escrow_id=escrow),
        RefundEscrow(escrow_id=escrow),
    ]
    log.batch("listings", *rng.sample(commands, 3))


def govern(log: Log) -> None:
    rng = log.rng
    if log.one_in(3):
        log.batch("matching", Epoch(epoch=rng.randrange(1, 6)))
    elif log.one_in(2):
        terms = {"taker_fee_bps": rng.randrange(50), "horizon_periods": rng.choice([6, 8, 10])}
        log.batch("admin", product_terms(PRODUCT, **terms, lot=log.mostly([1], [2])))
    else:
        state = log.mostly(["OPEN"], ["HALTED", "CLOSED", "CANCEL_ONLY", "AUCTION"], 3)
        opened = SetProductState(product=None, state="OPEN", reason="over")
        log.batch("admin", SetProductState(product=rng.choice([None, *PRODUCTS]), state=state, reason="test"))
        place_order(log)
        log.batch("admin", opened)


def rules(log: Log) -> TradingRules:
    """Rules of which most are off."""
    day = [ScheduledState(at_s=log.rng.randrange(86_400), state=state) for state in ("AUCTION", "OPEN", "CLOSED")]
    return TradingRules(
        schedule=log.mostly([()], [tuple(day)], 4),
        max_order_qty=log.mostly([None], [2, 8], 4),
        max_order_notional_micros=log.mostly([None], [3_000_000], 4),
        price_band_permille=log.mostly([0], [50, 200], 3),
        velocity_permille=log.mostly([0], [10, 100], 2),
        velocity_window_s=3600,
        velocity_auction_s=log.rng.choice([0, 5, 600]),
        auction_block_rounds=log.mostly([0], [1, 20], 2),
    )


def auction(log: Log) -> None:
    """An auction with orders in it, which opens by a command, by itself, or goes on."""
    product = log.rng.choice([None, PRODUCT, *PRODUCTS])
    opens = log.mostly([None], [0, 3, 60], 2)
    head = {"product": product, "reason": "auction"}
    log.batch("admin", SetProductState(**head, state="AUCTION", opens_after_s=opens))
    for _ in range(log.rng.randrange(12)):
        log.rng.choice([place_order, place_order, place_order, place_block, post_capacity, cancel])(log)
        if log.one_in(4):
            log.append(Tick())
    if log.rng.random() < 0.8:
        state = log.mostly(["OPEN"], ["HALTED", "CLOSED"], 6)
        log.batch("admin", SetProductState(**head, state=state))


def guard(log: Log) -> None:
    """Rules of a product, limits of an account, protection of a maker."""
    rng, account, chosen = log.rng, log.rng.choice(ACCOUNTS), log.rng.random()
    if chosen < 0.3:
        terms = {"horizon_periods": 6, "block_trials_per_command": rng.choice([1, 100])}
        log.batch("admin", product_terms(rng.choice(PRODUCTS), **terms, trading=rules(log)))
    elif chosen < 0.6:
        limits = {"max_open_orders": log.mostly([None], [1, 5], 2), "max_position_gpus": log.mostly([None], [2, 9], 2)}
        pace = {"throttle_window_s": log.mostly([0], [600], 2), "throttle_free_orders": 2}
        pace["throttle_orders_per_trade"] = 2
        log.batch("admin", SetAccountLimits(account=account, **log.mostly([limits | pace], [{}], 3)))
    else:
        qty, window_ms = log.mostly([(rng.choice([1, 2, 4]), 600_000)], [(None, None), (3, None)], 4)
        ids = {"command_id": f"c-{len(log.records)}", "account": account, "product": log.product()}
        log.append(SetProtection(**ids, qty=qty, window_ms=window_ms))


def err(log: Log) -> None:
    """Records to be refused: broken bytes, no permission, a repeated or skipped number, a wrong signature."""
    number = log.numbers.get("ledger", 0)
    forged = signed("ledger", number + 1, (credit("forged", "alice", 1),))
    log.append(
        log.rng.choice(
            [
                log.rng.randbytes(20),
                b' {"type":"tick"}',
                b'{"type":"tick","more":1}',
                genesis(),
                signed("ledger", max(number, 1), (credit("late", "alice", 1),)),
                signed("ledger", number + 2, (credit("early", "alice", 1),)),
                forged.model_copy(update={"signature": "00" * 64}),
            ]
        )
    )
    log.batch("gateway", credit("usurped", "alice", 1))


MOVES: dict[Callable[[Log], None], int] = {
    place_order: 30,
    place_block: 9,
    post_capacity: 12,
    change_capacity: 6,
    resell: 8,
    cancel: 4,
    mass_cancel: 1,
    replace: 4,
    replace_own: 5,
    batch: 3,
    fall_silent: 2,
    pass_time: 14,
    move_money: 2,
    move_vouchers: 3,
    change_node: 4,
    nominate: 3,
    fix_index: 3,
    settle: 6,
    dispute: 3,
    end_block: 2,
    void_contract: 1,
    sell_hardware: 4,
    govern: 2,
    auction: 2,
    guard: 3,
    err: 2,
}


@st.composite
def command_logs(draw: st.DrawFn, moves_max: int = 160) -> list[Record]:
    """A whole log, from genesis on."""
    log = open_venue(draw(st.sampled_from([0, 21])), draw(st.sampled_from([1, 2, 100])))
    for seed in draw(st.lists(st.integers(0, 2**64 - 1), min_size=moves_max // 2, max_size=moves_max)):
        log.rng = Random(seed)
        log.rng.choices([*MOVES], [*MOVES.values()])[0](log)
    return log.records
