"""A small world: few GPUs, five prices, two currencies and hardly any money, so that everything runs out and meets.

It is what property tests draw their logs from: in 160 moves most rules are met, and broken.
"""

from schemas.orders import MassCancel, PlaceBlock, PlaceOrder, RepriceCapacity, Resell, WithdrawCapacity
from schemas.trading_rules import ScheduledState, TradingRules
from schemas.venue import (
    Allocate,
    CancelAccountOrders,
    Credit,
    Deallocate,
    Debit,
    EndBlock,
    Epoch,
    LockHardware,
    NodeDown,
    NodesAlive,
    NominateGpus,
    Nomination,
    OpenEscrow,
    RefundEscrow,
    ReleaseEscrow,
    SetProductState,
    SettleDisputed,
    SettlePosition,
    Tick,
    UnlockHardware,
)
from tests.engine.all_kinds import AllKinds
from tests.engine.cast import ACCOUNTS, DIGEST, HOUR_MS, PRODUCTS, gpus_of
from tests.scenarios.venue import MIDNIGHT_MS, PRODUCT, contract_of, gpu_uuid, hour_start_s, product_terms

PRICES = (1_000_000, 1_100_000, 1_200_000, 1_300_000, 1_400_000)
FIRST_POSITIONS = range(1, 16)


class SmallWorld(AllKinds):
    """Every kind of command, most of them about the same few hours, GPUs, ids and prices."""

    nodes = {"n1": ("op", 4), "n2": ("op", 8), "n3": ("operator.2", 16), "n4": ("alice", 2)}
    currencies = ("CNY", "USD", "CNY", "CNY")
    taker_fees_bps = (0, 21)
    money_micros = 150_000_000
    conditions_one_in = 2
    odds = {
        "place_order": 30,
        "cancel": 4,
        "place_block": 9,
        "post_capacity": 12,
        "change_capacity": 6,
        "resell": 8,
        "replace": 4,
        "place_batch": 3,
        "fall_silent": 2,
        "mass_cancel": 1,
        "pass_time": 14,
        "heartbeats": 4,
        "move_money": 2,
        "settle": 6,
        "dispute": 3,
        "end_blocks": 2,
        "nominate": 3,
        "fix_index": 3,
        "sell_hardware": 4,
        "govern": 2,
        "hold_auction": 2,
        "guard": 3,
        "reopen": 1,
        "err": 2,
        "replace_own": 5,
        "move_vouchers": 3,
        "grow_resale": 2,
        "nominate_often": 2,
    } | dict.fromkeys(
        ("resell_often", "sell_at_market", "hold_resales", "void_contract", "sell_in_silence", "rotate_key"), 1
    )

    def open_venue(self) -> None:
        self.append(Tick())
        super().open_venue()
        self.batch("delivery", NodesAlive(nodes=tuple(self.nodes), until_ms=MIDNIGHT_MS + 40 * HOUR_MS))

    # -- picking

    def hour(self) -> int:
        """An hour whose gate is open, more often than not."""
        return (self.now_ms - MIDNIGHT_MS) // HOUR_MS + 1 + self.mostly((0, 1, 2), (-1, 5, 40), 20)

    def price(self) -> int:
        return self.mostly(PRICES, (1, 1_000_001, 10**12), 40)

    def product(self) -> str:
        return self.mostly((PRODUCT, PRODUCT, *PRODUCTS), ("H20SXM96.CNE.F",), 20)

    # -- orders

    def an_order(self) -> PlaceOrder:
        order = super().an_order()
        changes: dict[str, object] = {"contract": contract_of(self.hour(), self.product())} if self.seldom(4) else {}
        if self.seldom(30):
            changes |= {"use_vouchers": True, "tif": self.pick("IOC", "GTG")}
        return order.model_copy(update=changes)

    def replace_own(self) -> None:
        """Places an order and replaces it, mostly with something that changes."""
        order = self.an_order().model_copy(
            update={"kind": "limit", "tif": "GTG", "expires_ms": None, "min_qty": None, "max_cost_micros": None}
        )
        order = order.model_copy(update={"price_micros": self.price(), "use_vouchers": False})
        self.append(order)
        self.place_order()
        named = {"account": order.account, "order_id": None, "client_order_id": order.client_order_id}
        self.append(self.a_replace().model_copy(update=named))

    def a_block(self) -> PlaceBlock:
        block = super().a_block()
        if not self.seldom(3):
            return block
        return block.model_copy(update={"use_vouchers": True, "tif": self.pick("IOC", "IOC", "FOK", "GTG")})

    def mass_cancel(self) -> None:
        filters = {
            "account": self.pick(*ACCOUNTS),
            "product": self.mostly((None,), (self.product(),), 3),
            "contract": self.mostly((None,), (contract_of(self.hour()),), 3),
            "side": self.pick(None, "buy", "sell"),
            "from_s": self.pick(None, hour_start_s(self.hour())),
            "to_s": self.mostly((None,), (hour_start_s(self.hour()),), 3),
        }
        if self.seldom(3):
            self.batch("admin", CancelAccountOrders(**filters, reason="test"))
        else:
            self.append(MassCancel(command_id=self.command_id(), **filters))

    def change_capacity(self) -> None:
        """Reprices by a price or a curve, or withdraws, what may be a capacity order, by our id or the client's."""
        account, order_id = self.pick(*self.capacity) if self.capacity else (self.pick("op", "operator.2"), 17)
        by_ours = not self.seldom(3)
        named = {
            "account": self.mostly((account,), ACCOUNTS, 20),
            "order_id": order_id if by_ours else None,
            "client_order_id": None if by_ours else self.client_id(),
        }
        if self.seldom(2):
            first = self.hour()
            window = {"from_s": hour_start_s(first), "to_s": hour_start_s(first + self.random.randrange(3))}
            self.append(WithdrawCapacity(command_id=self.command_id(), **named, **window))
        else:
            curve = tuple(self.pick(*PRICES) for _ in range(24)) if self.seldom(2) else None
            floor = {"floor_price_micros": None if curve else self.price(), "floor_curve_micros": curve}
            self.append(RepriceCapacity(command_id=self.command_id(), **named, **floor))

    def resell(self) -> None:
        product, first = self.product(), self.hour()
        position = self.pick(*FIRST_POSITIONS) if self.seldom(3) else None
        block = self.mostly(tuple(self.block_ids) or (1,), (self.offset,), 3) if self.seldom(3) else None
        window = {
            "from_s": hour_start_s(first) - self.mostly((0,), (60,), 20),
            "to_s": hour_start_s(first + self.mostly((1, 2, 3), (0, 30), 20)),
        }
        ids = {"account": self.pick(*ACCOUNTS), "client_order_id": self.client_id(), "product": product}
        terms = {"qty": self.qty(8 if "X8" in product else 1), "price_micros": self.price()}
        self.append(
            Resell(command_id=self.command_id(), **ids, position_id=position, block_id=block, **window, **terms)
        )

    # -- time and services

    def pass_time(self) -> None:
        """Time goes on, mostly with a tick; a broker's clock may also step back."""
        self.now_ms += self.mostly((1, 250, 60_000, 900_000), (HOUR_MS, HOUR_MS, 2 * HOUR_MS, -5_000), 4)
        if not self.seldom(5):
            self.append(Tick())

    def heartbeats(self) -> None:
        """One node's beats, too late now and then; other GPUs, another owner, or GPUs of another node."""
        node = self.pick(*self.nodes)
        until_ms = max(0, self.now_ms + self.mostly((12 * HOUR_MS,), (0, 250, HOUR_MS), 3))
        alive = NodesAlive(nodes=(node, "n9"), until_ms=until_ms)
        if self.seldom(3):
            elsewhere = self.register("n2", "T1").model_copy(update={"gpus": gpus_of("n1", 2)})
            stranger = self.register(node, "T1").model_copy(update={"account": "bob"})
            count = self.mostly((self.nodes[node][1],), range(9), 3)
            usual = self.register(node, self.pick("T0", "T3"), count)
            self.batch("delivery", self.mostly((usual,), (elsewhere, stranger), 8), alive)
        elif self.seldom(4):
            self.batch("delivery", NodeDown(node=self.mostly((node,), ("n9",), 20), reason="gpu_lost"))
        else:
            self.batch("delivery", alive)

    def move_money(self) -> None:
        transfer = {
            "transfer_id": f"transfer-{self.random.randrange(60)}",
            "account": self.pick(*ACCOUNTS, "venue", "guarantee"),
            "asset": self.mostly(("CNY", "USD"), ("EUR",), 20),
            "amount_micros": self.mostly((1, 2_000_000, 20_000_000, 100_000_000), (4 * 10**18,), 20),
        }
        shard = self.mostly((1, 2), (0,), 8)
        commands = [
            Credit(**transfer),
            Debit(**transfer),
            Deallocate(**transfer, to_shard=shard),
            Allocate(**transfer, from_shard=shard),
        ]
        self.batch("ledger", *self.random.sample(commands, self.pick(1, 1, 2)))

    def nominate(self) -> None:
        """GPUs of every node for positions of the hour that is due; most of it is refused."""
        hour = (self.now_ms - MIDNIGHT_MS) // HOUR_MS + self.pick(0, 1)
        commands = []
        for _ in range(8):
            node = self.pick(*self.nodes)
            places = self.random.sample(range(self.nodes[node][1]), self.pick(1, 2))
            gpus = tuple(gpu_uuid(node, place) for place in places)
            nominations = (Nomination(position_id=self.pick(*range(1, 12)), gpus=gpus),) * self.mostly((1,), (0, 2), 20)
            contract = contract_of(hour, self.product())
            commands.append(NominateGpus(contract=contract, node=node, nominations=nominations))
        self.batch("delivery", *commands)

    def settle(self) -> None:
        """Some of the first positions in one batch; those that cannot be are refused one by one."""
        self.batch("delivery", *(self.a_settlement(each) for each in self.random.sample(FIRST_POSITIONS, 8)))

    def a_settlement(self, position: int) -> SettlePosition | SettleDisputed:
        delivered = self.mostly((self.random.randrange(7201), 3600, 3000), (20_000, 0), 8)
        facts = {
            "position_id": position,
            "revision": self.mostly((1, 1, 2), (3,), 20),
            "excused_gpu_s": self.mostly((0,), (600,), 6),
            "delivered_gpu_s": delivered,
            "used_gpu_s": self.random.randrange(delivered + 1) if not self.seldom(20) else delivered + 1,
            "noticed": self.seldom(3),
            "recalled_gpus": self.mostly((0, 1), (9,), 20),
            "meter_digest": DIGEST,
        }
        if not self.seldom(3):
            return SettlePosition(**facts)
        return SettleDisputed(**facts, disputed_gpu_s=self.pick(0, 36, 600), disputed_used_gpu_s=self.pick(0, 36))

    def end_blocks(self) -> None:
        """An account ends whatever blocks it has among many ids."""
        first, account = 1 + self.random.randrange(max(1, self.offset)), self.pick(*ACCOUNTS)
        self.batch("delivery", *(EndBlock(block_id=first + n, account=account, reason="outage") for n in range(80)))

    def sell_hardware(self) -> None:
        """A listing's life, step by step; with few of them most steps find the listing in some state."""
        node = self.pick(*self.nodes)
        listing, escrow = f"L{self.random.randrange(6)}", f"E{self.random.randrange(6)}"
        places = self.random.sample(range(self.nodes[node][1]), self.pick(1, 2))
        seller = self.nodes[node][0]
        terms = {
            "amount_micros": self.random.randrange(1_000_000, 9_000_000),
            "fee_micros": self.pick(0, 1_000, 10_000_000),
            "buyer": self.pick(*ACCOUNTS),
            "seller": seller,
            "asset": "CNY",
        }
        locking = LockHardware(listing_id=listing, account=seller, gpus=tuple(gpu_uuid(node, each) for each in places))
        opening = OpenEscrow(escrow_id=escrow, listing_id=listing, **terms)
        ends = [UnlockHardware(listing_id=listing), ReleaseEscrow(escrow_id=escrow), RefundEscrow(escrow_id=escrow)]
        self.batch("listings", *self.random.sample([locking, locking, opening, opening, *ends], 3))

    # -- the venue

    def govern(self) -> None:
        if self.seldom(3):
            self.batch("matching", Epoch(epoch=self.pick(*range(1, 6))))
        elif self.seldom(2):
            terms = {"taker_fee_bps": self.random.randrange(50), "horizon_periods": self.pick(6, 8, 10)}
            self.batch("admin", product_terms(PRODUCT, **terms, lot=self.mostly((1,), (2,), 20)))
        else:
            state = self.mostly(("OPEN",), ("HALTED", "CLOSED", "CANCEL_ONLY", "AUCTION"), 3)
            self.batch("admin", SetProductState(product=self.pick(None, *PRODUCTS), state=state, reason="test"))
            self.place_order()
            self.batch("admin", SetProductState(product=None, state="OPEN", reason="over"))

    def rules(self) -> TradingRules:
        """Rules of which most are off, and those that are on are soon met."""
        states = ("AUCTION", "OPEN", "CLOSED")
        day = tuple(ScheduledState(at_s=self.random.randrange(86_400), state=state) for state in states)
        return TradingRules(
            schedule=self.mostly(((),), (day,), 4),
            max_order_qty=self.mostly((None,), (2, 8), 4),
            max_order_notional_micros=self.mostly((None,), (3_000_000,), 4),
            price_band_permille=self.mostly((0,), (50, 200), 3),
            velocity_permille=self.mostly((0,), (10, 100), 2),
            velocity_window_s=3600,
            velocity_auction_s=self.pick(0, 5, 600),
            auction_block_rounds=self.mostly((0,), (1, 20), 2),
        )

    def limits(self) -> dict[str, int | None]:
        return {
            "max_open_orders": self.pick(None, 1, 5),
            "max_position_gpus": self.pick(None, 2, 9),
            "throttle_window_s": self.pick(0, 600),
            "throttle_free_orders": 2,
            "throttle_orders_per_trade": 2,
        }

    def protection(self) -> tuple[int | None, int | None]:
        return self.mostly(((self.pick(1, 2, 4), 600_000),), ((None, None), (3, None)), 4)

    def broken(self) -> bytes:
        return self.pick(super().broken(), self.random.randbytes(20), b' {"type":"tick"}', b'{"type":"tick","more":1}')


class Vouchers(SmallWorld):
    """Bids that draw on vouchers, delivered in part, corrected, resold, void, lapsed."""

    taker_fees_bps = (0, 21, 333)
    conditions_one_in = 1_000
    odds = dict.fromkeys(SmallWorld.odds, 0) | {"place_order": 56, "pass_time": 10, "settle": 14, "heartbeats": 2}
    odds |= {"resell_often": 8, "move_vouchers": 6, "void_contract": 2}

    def hour(self) -> int:
        return (self.now_ms - MIDNIGHT_MS) // HOUR_MS + self.pick(1, 2)

    def an_order(self) -> PlaceOrder:
        order = super().an_order()
        changes: dict[str, object] = {"contract": contract_of(self.hour()), "qty": self.pick(1, 2, 3)}
        if order.side == "buy" and not self.seldom(6):
            once = {"tif": self.pick("IOC", "IOC", "FOK"), "post_only": False, "node": None}
            changes |= {"use_vouchers": True, "stp": "cancel_oldest"} | once
        return order.model_copy(update=changes)

    def settle(self) -> None:
        """Most of the first positions, first or once more, on any amount of delivery."""
        commands = []
        for position in range(1, 30):
            delivered = self.pick(0, 1, 1799, 3600, 7200, 10_800, self.random.randrange(10_801))
            changes = {"revision": self.pick(1, 1, 2, 3, 4), "delivered_gpu_s": delivered, "used_gpu_s": delivered}
            settlement = self.a_settlement(position).model_copy(update=changes | {"recalled_gpus": 0})
            if isinstance(settlement, SettleDisputed):
                disputed = self.pick(0, 1, 1800, self.random.randrange(3601))
                more = {"disputed_gpu_s": disputed, "disputed_used_gpu_s": disputed}
                settlement = settlement.model_copy(update=more)
            commands.append(settlement)
        self.batch("delivery", *commands)
