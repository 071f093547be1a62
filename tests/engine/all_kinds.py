"""Random logs with every kind of record that the engine knows, in few hours at few prices, so that they meet."""

from matching_engine.rules import Engine
from schemas.orders import PlaceOrder, ReplaceOrder, Resell
from schemas.venue import (
    Allocate,
    CancelAccountOrders,
    Deallocate,
    NodeDown,
    NodesAlive,
    NominateGpus,
    Nomination,
    ServiceKey,
    SetProductState,
    VenueCommand,
    VoidContract,
)
from schemas.vouchers import DefundProgramme, FundProgramme, IssueVoucher, SetAffiliation
from tests.engine.cast import ACCOUNTS, HOUR_MS, PRODUCTS, PROGRAMMES, credit, define_programmes
from tests.engine.flavours import Flavour
from tests.scenarios.venue import PRODUCT, contract_of, gpu_uuid, hour_start_s, public_key


class AllKinds(Flavour):
    """Everything that other flavours have, and vouchers, voids, moves between shards, auctions full of resales."""

    odds = {
        "place_order": 400,
        "cancel": 60,
        "pass_time": 90,
        "settle": 40,
        "replace": 100,
        "change_capacity": 30,
        "hold_auction": 0,
        "sell_hardware": 10,
        "end_blocks": 8,
        "dispute": 8,
        "reopen": 25,
        "resell_often": 80,
        "grow_resale": 60,
        "sell_at_market": 20,
        "hold_resales": 20,
        "void_contract": 25,
        "nominate_often": 40,
        "sell_in_silence": 8,
        "move_vouchers": 10,
        "move_shards": 3,
        "cancel_for_venue": 3,
        "rotate_key": 2,
    }
    conditions_one_in = 5

    def __init__(self, seed: int, ruleset: int | None = None):
        self.resales: list[tuple[str, int, int]] = []
        self.past: list[str] = []
        self.locked: list[tuple[str, str, int, int]] = []
        super().__init__(seed, ruleset)

    def look(self, engine: Engine) -> None:
        super().look(engine)
        asks = (order for order in engine.state.orders.values() if order.side == "sell" and order.node is None)
        self.resales = [(order.account, order.id, order.qty) for order in asks]
        positions = engine.state.positions.values()
        states = {name: known.state for name, known in engine.state.contracts.items()}
        locked = (each for each in positions if states[each.contract] in ("LOCKED", "DELIVERING"))
        self.locked = [(each.contract, each.node, each.id, each.qty) for each in locked]
        self.past = [name for name, known in engine.state.contracts.items() if known.state not in ("OPEN", "EXPIRED")]

    def open_venue(self) -> None:
        super().open_venue()
        self.batch("ledger", credit("city", "city", 300_000_000))
        self.batch("admin", *define_programmes())
        for name, issuer in PROGRAMMES.items():
            terms = {"programme": name, "issuer": issuer}
            fund = FundProgramme(transfer_id=f"fund-{name}", **terms, amount_micros=40_000_000)
            issues = (
                IssueVoucher(transfer_id=f"{name}-{each}", **terms, account=each, amount_micros=7_654_321)
                for each in ACCOUNTS
            )
            self.batch("ledger", fund, *issues)

    def price(self) -> int:
        return 1_450_000 + 10_000 * self.random.randrange(8)

    def hour(self) -> int:
        return self.hour_from_now(self.pick(1, 1, 2, 3))

    def an_order(self) -> PlaceOrder:
        order = super().an_order()
        if order.side == "buy" and self.seldom(4):
            once = {"tif": self.pick("IOC", "FOK"), "post_only": False, "display_qty": None, "expires_ms": None}
            return order.model_copy(update={"use_vouchers": True} | once)
        return order

    def pass_time(self) -> None:
        if self.seldom(6):
            self.now_ms += self.pick(600_000, HOUR_MS, HOUR_MS, 3 * HOUR_MS)
            self.batch("delivery", NodesAlive(nodes=tuple(self.nodes), until_ms=self.now_ms + 9 * HOUR_MS))
        super().pass_time()

    def resell_often(self) -> None:
        """Positions of the next hours again, of one named position now and then."""
        first = self.hour()
        named = {"position_id": self.recent(self.last_position_id, 12) if self.seldom(2) else None}
        self.append(
            Resell(
                command_id=self.command_id(),
                account=self.pick(*ACCOUNTS),
                client_order_id=self.client_id(),
                product=PRODUCT,
                **named,
                block_id=None,
                from_s=hour_start_s(first),
                to_s=hour_start_s(first + self.pick(1, 1, 2)),
                qty=self.pick(1, 1, 2, 3),
                price_micros=self.price(),
            )
        )

    def sell_at_market(self) -> None:
        """Bought in an hour with few orders, and sold again at once for a loss that only some bounds allow."""
        contract = contract_of(self.hour_from_now(self.pick(6, 7, 8)))
        terms = {"contract": contract, "qty": 2, "post_only": False, "tif": "GTG", "stp": "cancel_newest"}
        for account, side, node, price, most in (
            ("op", "sell", "n2", 1_500_000, None),
            ("alice", "buy", None, 1_500_000, None),
            ("bob", "buy", None, 1_450_000, None),
            ("alice", "sell", None, None, self.pick(40_000, 80_000, 120_000)),
        ):
            ids = {"command_id": self.command_id(), "client_order_id": f"m-{self.offset}", "account": account}
            bounds = {"kind": "limit" if price else "market", "price_micros": price, "max_cost_micros": most}
            self.append(PlaceOrder(**ids, **terms, **bounds, side=side, node=node))

    def grow_resale(self) -> None:
        """An ask that stands on positions is replaced, mostly by a larger one, and somebody buys."""
        if not self.resales:
            return
        account, order_id, qty = self.pick(*self.resales)
        named = {"command_id": self.command_id(), "account": account, "order_id": order_id, "client_order_id": None}
        terms = {"qty": max(1, qty + self.pick(-1, 1, 1, 2)), "price_micros": self.pick(None, None, self.price())}
        self.append(ReplaceOrder(**named, replace_id=None, **terms, expires_ms=None))
        self.place_order()

    def hold_resales(self) -> None:
        """An auction in which many sell again what they have, and bids are larger than what one of them has."""
        product = self.mostly((PRODUCT,), (None, *PRODUCTS), 4)
        self.batch("admin", SetProductState(product=product, state="AUCTION", reason="test"))
        drawn = (
            self.place_order,
            self.place_order,
            self.resell_often,
            self.replace,
            self.cancel,
            self.place_block,
            self.pass_time,
        )
        for _ in range(self.random.randrange(25)):
            self.pick(*drawn)()
        self.batch(
            "admin", SetProductState(product=product, state=self.mostly(("OPEN",), ("HALTED",), 9), reason="test")
        )

    def void_contract(self) -> None:
        """By the venue's fault, at any age; now and then too early."""
        early = contract_of(self.hour(), self.pick(*PRODUCTS))
        contract = self.mostly((*self.past, self.past[0]) if self.past else (early,), (early,), 6)
        self.batch("delivery", VoidContract(contract=contract, reason="meter_lost"))

    def nominate_often(self) -> None:
        """Positions whose gate has closed get GPUs, now and then one that another has."""
        if not self.locked:
            return
        contract, node, position, qty = self.pick(*self.locked)
        first = self.random.randrange(3)
        gpus = tuple(gpu_uuid(node, place) for place in range(first, first + qty))
        nominations = (Nomination(position_id=position, gpus=gpus),)
        self.batch("delivery", NominateGpus(contract=contract, node=node, nominations=nominations))

    def sell_in_silence(self) -> None:
        """A node's heartbeats end, and no tick has told it yet."""
        node = self.pick("n1", "n2")
        self.batch("delivery", NodeDown(node=node, reason="test"))
        self.batch("delivery", NodesAlive(nodes=(node,), until_ms=self.now_ms + 100))
        self.now_ms += self.pick(99, 100, 250)
        order = self.an_order()
        self.append(order.model_copy(update={"account": "op", "side": "sell", "node": node, "use_vouchers": False}))
        self.batch("delivery", NodesAlive(nodes=tuple(self.nodes), until_ms=self.now_ms + 9 * HOUR_MS))

    def move_vouchers(self) -> None:
        """Budgets and vouchers; some name another's programme."""
        name = self.pick(*PROGRAMMES)
        transfer = {
            "transfer_id": f"voucher-{self.offset}",
            "programme": name,
            "issuer": self.mostly((PROGRAMMES[name],), ("bob",), 9),
            "amount_micros": self.pick(1, 777_777, 3_000_000),
        }
        issue = IssueVoucher(**transfer, account=self.pick(*ACCOUNTS))
        self.batch("ledger", self.pick(FundProgramme(**transfer), DefundProgramme(**transfer), issue, issue))
        if self.seldom(4):
            group = self.pick("g1", "g2", None)
            self.batch("admin", SetAffiliation(account=self.pick(*ACCOUNTS), group=group), *define_programmes())

    def move_shards(self) -> None:
        transfer = {
            "transfer_id": f"shard-{self.offset}",
            "account": self.pick(*ACCOUNTS),
            "asset": "CNY",
            "amount_micros": self.random.randrange(1, 9_000_000),
        }
        commands: list[VenueCommand] = [Deallocate(**transfer, to_shard=1), Allocate(**transfer, from_shard=1)]
        self.batch("ledger", self.pick(*commands))

    def rotate_key(self) -> None:
        """The gateway's key becomes another's, under which its batches are no longer signed, or its own again."""
        source = self.pick("gateway", "gateway", "admin")
        self.batch("admin", ServiceKey(source="gateway", public_key=public_key(source)))

    def cancel_for_venue(self) -> None:
        filters = {
            "product": self.pick(None, *PRODUCTS),
            "contract": self.pick(None, contract_of(self.hour())),
            "side": self.pick(None, "buy", "sell"),
            "from_s": None,
            "to_s": None,
        }
        self.batch("admin", CancelAccountOrders(account=self.pick(*ACCOUNTS), **filters, reason="test"))
