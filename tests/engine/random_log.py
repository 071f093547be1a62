"""Endless command logs from a seed: all kinds of records, mostly sensible, some wrong, some broken.

It writes slice by slice and looks at an engine in between, so that it can name orders and positions that exist.
"""

import random
from typing import get_args

from matching_engine.rules import Engine
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
    NEWEST_RULESET,
    CloseDispute,
    Credit,
    Debit,
    EndBlock,
    Epoch,
    IndexFixed,
    LockHardware,
    NodeDown,
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
    SetRuleset,
    SettleDisputed,
    SettlePosition,
    Tick,
    UnlockHardware,
    VenueCommand,
)
from tests.engine.cast import ACCOUNTS, DIGEST, HOUR_MS, NODES, ODDS, PRODUCTS, credit, gpus_of
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

Record = tuple[int, int, bytes]
TIFS = ("GTG", "GTG", "GTG", "GTG", "IOC", "FOK")


class RandomLog:
    """A log that goes on for ever, under any ruleset or one; the same seed and engine give the same records.

    Moves come at their usual odds, or at those that `odds` gives by name, of further moves too.
    """

    odds: dict[str, int] = {}
    conditions_one_in = 12
    tick_micros = 10_000
    nodes = NODES
    currencies = ("CNY",) * len(PRODUCTS)
    taker_fees_bps: tuple[int, ...] = (0, 20)
    money_micros = 400_000_000

    def __init__(self, seed: int, ruleset: int | None = None):
        self.random, self.ruleset = random.Random(seed), ruleset
        self.now_ms = MIDNIGHT_MS
        self.offset = 0
        self.records: list[Record] = []
        self.numbers: dict[str, int] = {}
        self.last_position_id = 0
        self.live: list[tuple[str, int]] = []
        self.capacity: list[tuple[str, int]] = []
        self.block_ids: list[int] = []
        self.epoch = 0
        odds = ODDS | self.odds
        self.moves, self.weights = [getattr(self, name) for name in odds], [*odds.values()]
        self.open_venue()

    def open_venue(self) -> None:
        """Products, money and nodes, ready to trade."""
        drawn = self.mostly((NEWEST_RULESET,), range(1, NEWEST_RULESET), 2)
        self.append(genesis(ruleset=self.ruleset or drawn))
        terms = {
            "taker_fee_bps": self.pick(*self.taker_fees_bps),
            "maker_fee_bps": 7,
            "horizon_periods": 9,
            "final_after_s": 7200,
        }
        terms |= {"block_trials_per_command": self.pick(1, 3, 100), "bond_permille": (1000, 500, 0, 101)}
        terms["tick_micros"] = self.tick_micros
        pairs = zip(PRODUCTS, self.currencies, strict=True)
        self.batch("admin", *(product_terms(product, **terms, currency=currency) for product, currency in pairs))
        for asset in sorted(set(self.currencies)):
            accounts = (*ACCOUNTS, "guarantee")
            self.batch(
                "ledger", *(credit(f"first-{each}-{asset}", each, self.money_micros, asset) for each in accounts)
            )
        self.batch("delivery", *(self.register(node, f"T{place % 4}") for place, node in enumerate(self.nodes)))

    def take(self, commands: int) -> list[Record]:
        """Returns the next records, at least as many as asked for."""
        while len(self.records) < commands:
            self.random.choices(self.moves, self.weights)[0]()
        taken, self.records = self.records, []
        return taken

    def move(self, seed: int) -> None:
        """Makes one move that follows from a seed and what was looked at last."""
        self.random.seed(seed)
        self.random.choices(self.moves, self.weights)[0]()

    def append(self, value: Model | bytes) -> None:
        self.records.append((self.offset, self.now_ms, value if isinstance(value, bytes) else value.canonical()))
        self.offset += 1

    def batch(self, source: str, *commands: VenueCommand) -> None:
        self.numbers[source] = self.numbers.get(source, 0) + 1
        self.append(signed(source, self.numbers[source], commands))

    def look(self, engine: Engine) -> None:
        """Takes notice of what exists by now."""
        self.last_position_id = engine.state.last_position_id
        self.live = [(order.account, order.id) for order in engine.state.orders.values()]
        parents = {(order.account, order.parent_id) for order in engine.state.orders.values() if order.parent_id}
        self.capacity = sorted(parents)
        blocks = {position.block_id for position in engine.state.positions.values() if position.block_id}
        self.block_ids = sorted(blocks)[-40:]

    # -- picking

    def pick(self, *choices: object) -> object:
        return self.random.choice(choices)

    def mostly(self, usual: tuple, rare: tuple, one_in: int) -> object:
        """One of the usual values, and once in a while a rare one."""
        return self.random.choice(rare if self.seldom(one_in) else usual)

    def seldom(self, one_in: int) -> bool:
        return self.random.randrange(one_in) == 0

    def hour(self) -> int:
        """An hour from the one in which the log stands on; mostly one that is listed."""
        return (self.now_ms - MIDNIGHT_MS) // HOUR_MS + self.mostly((1, 1, 2, 2, 3, 4), (-1, 0, 6, 9, 12), 12)

    def price(self) -> int:
        if self.seldom(40):
            return self.pick(1, 1_000_001, 10**12)
        return 1_000_000 + 10_000 * self.random.randrange(100)

    def qty(self, lot: int = 1) -> int:
        return self.mostly((1, 1, 2, 2, 3, 4), (125_000, 64, 8), 30) * self.mostly((lot,), (1,), 30)

    def client_id(self) -> str:
        return f"id-{self.offset if not self.seldom(12) else self.random.randrange(1, self.offset + 1)}"

    def command_id(self) -> str:
        return f"c-{self.offset}"

    def recent(self, last: int, reach: int) -> int:
        return max(1, last - self.random.randrange(reach) + 2)

    # -- orders

    def place_order(self) -> None:
        order = self.an_order()
        self.append(order)
        if self.seldom(20):
            change = {"command_id": self.command_id()} | ({"qty": self.qty()} if self.seldom(3) else {})
            self.append(order.model_copy(update=change))

    def an_order(self) -> PlaceOrder:
        node = self.pick("n1", "n2", "n2", "n3", "n4")
        sells = self.seldom(2)
        resells = sells and self.seldom(4)
        market = (resells or not sells) and self.seldom(6)
        order = PlaceOrder(
            command_id=self.command_id(),
            account=self.nodes[node][0] if sells and not (resells or self.seldom(30)) else self.pick(*ACCOUNTS),
            client_order_id=self.client_id(),
            contract=contract_of(self.hour(), PRODUCTS[2] if node == "n3" else self.mostly(PRODUCTS[:1], PRODUCTS, 4)),
            side="sell" if sells else "buy",
            kind="market" if market else "limit",
            qty=self.qty(8 if node == "n3" else 1),
            price_micros=None if market else self.price(),
            max_cost_micros=self.random.randrange(1, 50_000_000) if market or self.seldom(60) else None,
            tif=self.pick(*TIFS),
            post_only=self.seldom(20),
            node=node if (sells and not resells) or self.seldom(60) else None,
            stp="cancel_newest",
        )
        return order.model_copy(update=self.conditions(order)) if self.seldom(self.conditions_one_in) else order

    def conditions(self, order: PlaceOrder) -> dict[str, object]:
        """Terms that few orders have; larger quantities let icebergs show more than one part."""
        lot = 8 if order.contract.startswith(PRODUCTS[2]) else 1
        changes: dict[str, object] = {"stp": self.pick(*get_args(SelfTradePrevention))}
        if self.seldom(2):
            changes |= {"display_qty": lot * self.mostly((1, 2), (3, 99), 12), "qty": lot * self.pick(1, 2, 5, 9)}
        if self.seldom(3):
            changes |= {"tif": self.mostly(("GTD",), ("GTG", "IOC"), 9), "expires_ms": self.end_ms()}
        if self.seldom(4):
            changes |= {"min_qty": lot * self.mostly((1, 2), (3, 99), 12)}
        return changes

    def end_ms(self) -> int:
        return max(1, self.now_ms + self.mostly((250, 60_000, 900_000, HOUR_MS), (-1, 0, 9 * HOUR_MS), 9))

    def replace(self) -> None:
        self.append(self.a_replace())

    def a_replace(self) -> ReplaceOrder:
        account, order_id = self.pick(*self.live) if self.live and not self.seldom(9) else (self.pick(*ACCOUNTS), 17)
        by_ours = not self.seldom(5)
        return ReplaceOrder(
            command_id=self.command_id(),
            account=self.mostly((account,), ACCOUNTS, 20),
            order_id=order_id if by_ours else None,
            client_order_id=self.client_id() if not by_ours or self.seldom(50) else None,
            replace_id=self.mostly((None, f"r-{self.offset}"), (self.client_id(),), 9),
            qty=self.mostly((None, None, 1, 2, 5, 8), (16, 64), 9),
            price_micros=self.pick(None, self.price(), self.price()),
            expires_ms=self.mostly((None,), (self.end_ms(),), 5),
        )

    def place_batch(self) -> None:
        account = self.pick(*ACCOUNTS)
        drawn = [self.pick(self.an_order, self.an_order, self.a_replace)() for _ in range(self.random.randint(1, 8))]
        members = []
        for place, each in enumerate(drawn):
            ids = {"command_id": f"{each.command_id}-{place}", "account": account}
            named = {"client_order_id": f"{each.client_order_id}-{place}"} if isinstance(each, PlaceOrder) else {}
            members.append(each.model_copy(update=ids | named))
        stranger = self.mostly((account,), ACCOUNTS, 9)
        self.append(PlaceBatch(command_id=self.command_id(), account=stranger, members=tuple(members)))

    def fall_silent(self) -> None:
        fields = {"account": self.pick(*ACCOUNTS), "session": self.pick("s1", "s2")}
        timeout_ms = self.pick(0, 0, 250, 60_000, HOUR_MS)
        self.append(CancelAllAfter(command_id=self.command_id(), **fields, timeout_ms=timeout_ms))

    def place_block(self) -> None:
        self.append(self.a_block())

    def a_block(self) -> PlaceBlock:
        product = self.pick(*PRODUCTS)
        lot = 8 if product == PRODUCTS[2] else 1
        qty = self.qty(lot)
        start = self.hour()
        latest = start + self.mostly((0, 1, 2, 3), (-1, 30), 20) if self.seldom(3) else None
        return PlaceBlock(
            command_id=self.command_id(),
            account=self.pick(*ACCOUNTS),
            client_order_id=self.client_id(),
            product=product,
            start_s=hour_start_s(start),
            latest_s=None if latest is None else hour_start_s(latest),
            periods=self.random.randint(1, 4),
            qty=qty,
            min_qty=self.mostly((lot, qty), (1, 1_000_000), 20),
            limit_price_micros=self.price(),
            max_cost_micros=self.pick(None, None, self.random.randrange(1, 50_000_000)),
            tif=self.pick(*TIFS),
            stp="cancel_newest",
        )

    def post_capacity(self) -> None:
        node, first = self.pick(*self.nodes), self.hour()
        curve = tuple(1_000_000 + 250_000 * (hour % 5) for hour in range(24)) if self.seldom(4) else None
        self.append(
            PostCapacity(
                command_id=self.command_id(),
                account=self.nodes[node][0],
                client_order_id=self.client_id(),
                product=PRODUCTS[2] if node == "n3" else self.mostly(PRODUCTS[:2], PRODUCTS, 20),
                node=node,
                gpus=self.pick(8, 16) if node == "n3" else self.pick(1, 2, 4, 8),
                from_s=hour_start_s(first),
                to_s=hour_start_s(first + self.random.randrange(5)),
                floor_price_micros=self.price() if curve is None else None,
                floor_curve_micros=curve,
                ttl_s=self.mostly((None,), (1, 60, 3600), 4),
                split=node == "n3" and self.seldom(3),
            )
        )

    def change_capacity(self) -> None:
        """Reprices or withdraws a part of what is often a capacity order."""
        account, order_id = self.pick(*self.capacity) if self.capacity and not self.seldom(9) else ("op", 17)
        named = {"command_id": self.command_id(), "account": account, "order_id": order_id, "client_order_id": None}
        if self.seldom(2):
            first = self.hour()
            window = {"from_s": hour_start_s(first), "to_s": hour_start_s(first + self.random.randrange(3))}
            self.append(WithdrawCapacity(**named, **window))
        else:
            self.append(RepriceCapacity(**named, floor_price_micros=self.price(), floor_curve_micros=None))

    def resell(self) -> None:
        product, first = self.mostly(PRODUCTS[:1], PRODUCTS, 3), self.hour()
        one = self.mostly(((None, None),), ((self.recent(self.last_position_id, 30), None), (None, self.offset)), 3)
        self.append(
            Resell(
                command_id=self.command_id(),
                account=self.pick(*ACCOUNTS),
                client_order_id=self.client_id(),
                product=product,
                position_id=one[0],
                block_id=one[1],
                from_s=hour_start_s(first),
                to_s=hour_start_s(first + self.random.randrange(4)),
                qty=self.qty(8 if product == PRODUCTS[2] else 1),
                price_micros=self.price(),
            )
        )

    def cancel(self) -> None:
        account, order_id = self.pick(*self.live) if self.live and not self.seldom(4) else (self.pick(*ACCOUNTS), 17)
        by_ours = not self.seldom(5)
        self.append(
            CancelOrder(
                command_id=self.command_id(),
                account=self.mostly((account,), ACCOUNTS, 20),
                order_id=order_id if by_ours else None,
                client_order_id=self.client_id() if not by_ours or self.seldom(50) else None,
            )
        )

    def mass_cancel(self) -> None:
        self.append(
            MassCancel(
                command_id=self.command_id(),
                account=self.pick(*ACCOUNTS),
                product=self.pick(None, *PRODUCTS),
                contract=self.pick(None, contract_of(self.hour())),
                side=self.pick(None, "buy", "sell"),
            )
        )

    # -- time and services

    def pass_time(self) -> None:
        self.now_ms += self.random.choice([1, 250, 250, 250, 1_000, 5_000, 60_000, -500])
        if self.seldom(40):
            self.now_ms += HOUR_MS // self.pick(1, 2, 6)
        if not self.seldom(3):
            self.append(Tick())

    def heartbeats(self) -> None:
        nodes = tuple(self.nodes) if not self.seldom(10) else (self.pick(*self.nodes), "n9")
        commands: list[VenueCommand] = [NodesAlive(nodes=nodes, until_ms=self.now_ms + self.pick(90_000, 2 * HOUR_MS))]
        if self.seldom(8):
            commands.append(NodeDown(node=self.pick(*self.nodes), reason="gpu_lost"))
        if self.seldom(6):
            commands.append(
                self.register(self.pick(*self.nodes), self.pick("T0", "T1", "T3"), self.mostly((None,), (1, 5, 9), 4))
            )
        self.batch("delivery", *commands)

    def register(self, node: str, level: str, count: int | None = None) -> RegisterNode:
        account, gpus = self.nodes[node]
        grade = "H100SXM80X8" if node == "n3" else "H100SXM80"
        entries = gpus_of(node, gpus if count is None else count)
        return RegisterNode(node=node, account=account, grade=grade, hub="CNE", level=level, gpus=entries)

    def move_money(self) -> None:
        kind, account = self.pick(Credit, Credit, Debit), self.pick(*ACCOUNTS, "venue", "guarantee")
        amount = 4 * 10**18 if self.seldom(30) else self.random.randrange(1, 90_000_000)
        transfer_id = f"transfer-{self.offset // self.pick(1, 1, 300)}"
        self.batch("ledger", kind(transfer_id=transfer_id, account=account, asset="CNY", amount_micros=amount))

    def settle(self) -> None:
        """Delivery settles many positions in one batch; those that cannot be are refused one by one."""
        delivered = self.random.choice([0, 3600, 3600, 5000, 7200, 14_400])
        meter = {"excused_gpu_s": self.pick(0, 0, 60), "delivered_gpu_s": delivered, "used_gpu_s": delivered // 2}
        first, revision = self.recent(self.last_position_id, 60), self.pick(1, 1, 2)
        facts = {"revision": revision, "meter_digest": DIGEST} | meter
        commands: list[VenueCommand] = []
        for position in range(first, first + 12):
            recall = {"noticed": self.seldom(2), "recalled_gpus": self.random.randrange(2)}
            disputed = {"disputed_gpu_s": self.pick(0, 36, 3600), "disputed_used_gpu_s": self.pick(0, 36)}
            if self.seldom(3):
                commands.append(SettleDisputed(position_id=position, **facts, **recall, **disputed))
            else:
                commands.append(SettlePosition(position_id=position, **facts, **recall))
        self.batch("delivery", *commands)

    def dispute(self) -> None:
        """Disputes are opened and closed; most of them are no good."""
        first = self.recent(self.last_position_id, 60)
        commands = [
            self.pick(
                OpenDispute(position_id=position, opened_by=self.pick("buyer", "operator", "venue"), reason="test"),
                CloseDispute(position_id=position, reason="test"),
            )
            for position in range(first, first + 12)
        ]
        self.batch("delivery", *commands)

    def end_blocks(self) -> None:
        """Buyers end blocks, somebody else's too."""
        blocks = self.block_ids or [1]
        commands = [
            EndBlock(block_id=self.pick(*blocks), account=self.pick(*ACCOUNTS), reason="outage")
            for _ in range(self.pick(1, 3))
        ]
        self.batch("delivery", *commands)

    def nominate(self) -> None:
        node, position = self.pick(*self.nodes), self.recent(self.last_position_id, 30)
        uuids = tuple(
            gpu_uuid(node, self.random.randrange(self.nodes[node][1])) for _ in range(self.random.randint(1, 3))
        )
        contract = contract_of(self.hour() - 1, self.pick(*PRODUCTS))
        nominations = (Nomination(position_id=position, gpus=uuids),)
        self.batch("delivery", NominateGpus(contract=contract, node=node, nominations=nominations))

    def fix_index(self) -> None:
        contract = contract_of(self.hour() - 1, self.pick(*PRODUCTS))
        index = IndexFixed(contract=contract, index_micros=self.price(), level=1, method="v1", inputs_digest=DIGEST)
        self.batch("market_data", index)

    def sell_hardware(self) -> None:
        listing_id, escrow_id = f"L{self.random.randrange(400)}", f"E{self.random.randrange(400)}"
        node = self.pick(*self.nodes)
        seller, buyer = self.nodes[node][0], self.pick(*ACCOUNTS)
        opening = OpenEscrow(
            escrow_id=escrow_id,
            listing_id=listing_id,
            buyer=buyer,
            seller=seller,
            asset="CNY",
            amount_micros=self.random.randrange(1_000_000, 50_000_000),
            fee_micros=self.random.randrange(1_000_000),
        )
        locking = LockHardware(
            listing_id=listing_id, account=seller, gpus=(gpu_uuid(node, self.random.randrange(self.nodes[node][1])),)
        )
        ends = (
            UnlockHardware(listing_id=listing_id),
            ReleaseEscrow(escrow_id=escrow_id),
            RefundEscrow(escrow_id=escrow_id),
        )
        self.batch("listings", *self.pick((locking,), (locking, opening), (locking, opening, self.pick(*ends)), ends))

    def govern(self) -> None:
        state = self.pick("HALTED", "CLOSED", "CANCEL_ONLY", "AUCTION")
        product = self.mostly(PRODUCTS, (None,), 4)
        self.batch("admin", SetProductState(product=product, state=state, reason="test"))
        if self.seldom(2):
            fees = {"taker_fee_bps": self.random.randrange(50), "maker_fee_bps": self.random.randrange(20)}
            self.batch("admin", product_terms(PRODUCT, horizon_periods=self.random.randint(6, 12), **fees))
        if self.seldom(8):
            self.batch("admin", SetRuleset(ruleset=self.random.randint(1, NEWEST_RULESET + 1)))
        if self.seldom(4):
            self.epoch += self.pick(0, 1)
            self.batch("matching", Epoch(epoch=max(1, self.epoch)))

    def rules(self) -> TradingRules:
        """Rules of which most are off."""
        day = [ScheduledState(at_s=self.random.randrange(86_400), state=state) for state in ("AUCTION", "OPEN")]
        return TradingRules(
            schedule=self.mostly(((),), (tuple(day),), 4),
            max_order_qty=self.mostly((None,), (3,), 4),
            max_order_notional_micros=self.mostly((None,), (5_000_000,), 4),
            price_band_permille=self.mostly((0,), (300, 2000), 3),
            velocity_permille=self.mostly((0,), (100, 400), 3),
            velocity_window_s=self.pick(1, 60),
            velocity_auction_s=self.pick(0, 5),
            auction_block_rounds=self.pick(0, 0, 3, 50),
        )

    def hold_auction(self) -> None:
        """An auction that opens with this command or the next, by itself, or when trading is opened again."""
        product, opens = self.mostly(PRODUCTS, (None,), 4), self.pick(None, None, 1, 30)
        self.batch("admin", SetProductState(product=product, state="AUCTION", reason="test", opens_after_s=opens))
        for _ in range(self.random.randrange(30)):
            self.pick(
                self.place_order,
                self.place_order,
                self.place_order,
                self.cancel,
                self.place_block,
                self.post_capacity,
                self.pass_time,
            )()
        if not self.seldom(3):
            self.batch("admin", SetProductState(product=product, state="OPEN", reason="test"))

    def guard(self) -> None:
        """Rules of a product, limits of an account, protection of a maker; most of them end again soon."""
        product, account = self.pick(*PRODUCTS), self.pick(*ACCOUNTS)
        if self.seldom(3):
            currency = self.currencies[PRODUCTS.index(product)]
            rules = {"horizon_periods": 9, "trading": self.rules()}
            self.batch("admin", product_terms(product, **rules, currency=currency))
        elif self.seldom(2):
            self.batch("admin", SetAccountLimits(account=account, **self.pick(self.limits(), {})))
        else:
            qty, window_ms = self.protection()
            head = {"command_id": self.command_id(), "account": account, "product": product}
            self.append(SetProtection(**head, qty=qty, window_ms=window_ms))

    def limits(self) -> dict[str, int | None]:
        limits = {"max_open_orders": self.pick(None, 40), "max_position_gpus": self.pick(None, 20)}
        pace = {"throttle_window_s": self.pick(0, 20), "throttle_free_orders": 3, "throttle_orders_per_trade": 2}
        return limits | pace

    def protection(self) -> tuple[int | None, int | None]:
        return self.pick((5, 60_000), (1, 1), (None, None), (None, None))

    def reopen(self) -> None:
        self.batch("ledger", SetProductState(product=None, state="OPEN", reason="test"))

    def err(self) -> None:
        """Records to be refused: broken bytes, no permission, a repeated or skipped number, a wrong signature."""
        number = self.numbers.get("ledger", 0)
        usurped = (credit("usurped", "alice", 1),)
        forged = signed("ledger", number + 1, usurped).model_copy(update={"signature": "00" * 64})
        values = (genesis(), signed("ledger", max(number, 1), usurped), signed("ledger", number + 2, usurped), forged)
        self.append(self.pick(*values, self.broken(), self.broken(), self.broken()))
        self.batch("gateway", *usurped)

    def broken(self) -> bytes:
        """A good order with one byte changed, doubled or lost."""
        raw = bytearray(
            PlaceOrder(
                command_id="c-0",
                account="alice",
                client_order_id=self.client_id(),
                contract=contract_of(self.hour()),
                side="buy",
                kind="limit",
                qty=1,
                price_micros=self.price(),
                max_cost_micros=None,
                tif="GTG",
                post_only=False,
                node=None,
                stp="cancel_newest",
            ).canonical()
        )
        place = self.random.randrange(len(raw))
        raw[place : place + 1] = self.pick(
            b"", b"  ", b"0", b"-", b'"', b"\\", b"\x00", b"\xff", raw[place : place + 1] * 2
        )
        return bytes(raw)
