"""Flavours of random logs: each drives both engines into one corner, with the generator's own moves at other odds."""

from schemas.base import Model
from schemas.orders import CancelOrder, PlaceBlock, PostCapacity
from schemas.trading_rules import TradingRules
from schemas.venue import CancelAccountOrders, SetProductState
from tests.engine.cast import ACCOUNTS, HOUR_MS
from tests.engine.random_log import RandomLog
from tests.scenarios.venue import MIDNIGHT_MS, PRODUCT, product_terms


class Flavour(RandomLog):
    """A random log that names hours by their distance."""

    def hour_from_now(self, hours: int) -> int:
        """An hour by its distance from the one in which the log stands; once in a while any other."""
        return RandomLog.hour(self) if self.seldom(20) else (self.now_ms - MIDNIGHT_MS) // HOUR_MS + hours


class Ties(Flavour):
    """Everyone at the same price in the same hour: only age decides."""

    def price(self) -> int:
        return self.mostly((1_500_000,), (1_490_000, 1_510_000), 10)

    def qty(self, lot: int = 1) -> int:
        return lot * self.pick(1, 2)

    def hour(self) -> int:
        return self.hour_from_now(2)


class Dust(Flavour):
    """Single GPUs for a few micro-units, where every rounding shows, and hardly any money."""

    tick_micros = 1

    odds = {"move_money": 120, "settle": 60, "pass_time": 120}

    def price(self) -> int:
        return self.pick(9_999, 20_001, 30_000)

    def qty(self, lot: int = 1) -> int:
        return self.mostly((lot,), (1, 3, 7), 10)


class Storm(Flavour):
    """Orders that cross, many of them immediate: books are swept and filled anew."""

    odds = {"place_order": 800, "cancel": 60, "heartbeats": 60}

    def price(self) -> int:
        return 1_480_000 + 10_000 * self.random.randrange(5)

    def qty(self, lot: int = 1) -> int:
        return lot * self.pick(1, 2, 8, 40)

    def hour(self) -> int:
        return self.hour_from_now(self.pick(1, 2))


class DeadCancels(Flavour):
    """Cancels of what is gone: filled, cancelled, expired, never there, somebody else's."""

    odds = {"cancel": 900, "mass_cancel": 40}

    def cancel(self) -> None:
        if self.seldom(3):
            super().cancel()
            return
        order_id = self.random.randrange(1, max(2, self.offset))
        self.append(
            CancelOrder(
                command_id=self.command_id(),
                account=self.pick("alice", "bob", "op", "operator.2"),
                order_id=order_id,
                client_order_id=None,
            )
        )


class ShrinkingNodes(Flavour):
    """Blocks and capacity against nodes that fall silent, lose GPUs and sell them."""

    odds = {
        "place_order": 120,
        "place_block": 250,
        "post_capacity": 250,
        "heartbeats": 180,
        "sell_hardware": 90,
        "cancel": 60,
    }

    def price(self) -> int:
        return 1_000_000 + 250_000 * self.random.randrange(6)


class Supply(Flavour):
    """Capacity by the dozen and blocks that hardly ever wait for it, over the same few hours."""

    odds = {
        "place_order": 150,
        "place_block": 250,
        "post_capacity": 250,
        "change_capacity": 60,
        "resell": 1,
        "guard": 0,
    }
    conditions_one_in = 500

    def append(self, value: Model | bytes) -> None:
        if isinstance(value, PlaceBlock) and value.tif == "GTG" and not self.seldom(400):
            value = value.model_copy(update={"tif": "IOC"})
        super().append(value)

    def price(self) -> int:
        return 1_400_000 + 10_000 * self.random.randrange(20)

    def hour(self) -> int:
        return self.hour_from_now(self.pick(1, 2, 3))


class ChangingStates(Flavour):
    """Products that open, halt, close and hold auctions all the time."""

    odds = {"govern": 90, "reopen": 60, "pass_time": 120}


class Haste(Flavour):
    """Time flies: gates close, hours are delivered, settled and finished within few commands."""

    odds = {"pass_time": 400, "settle": 120, "nominate": 80, "fix_index": 60, "heartbeats": 80}

    def pass_time(self) -> None:
        self.now_ms += self.pick(0, 0, 0, 600_000, 1_800_000, 3_600_000)
        super().pass_time()


class Conditions(Flavour):
    """Icebergs, expiries, minimum quantities, self-trade instructions; replaces, batches and silence among them."""

    odds = {"replace": 250, "place_batch": 60, "fall_silent": 10, "cancel": 80}
    conditions_one_in = 2

    def price(self) -> int:
        return 1_480_000 + 10_000 * self.random.randrange(6)

    def hour(self) -> int:
        return self.hour_from_now(self.pick(1, 2, 3))


class BlockAuctions(Flavour):
    """Auctions with blocks that compete for the same few nodes and hours, some of them too dear."""

    odds = {"place_order": 150, "post_capacity": 60, "hold_auction": 0, "reopen": 0, "govern": 0}
    odds |= {"hold_block_auction": 50}
    is_in_auction = False
    rounds: tuple[int, ...] = (1, 3, 50)

    def append(self, value: Model | bytes) -> None:
        if self.is_in_auction and isinstance(value, PlaceBlock):
            changes = {"product": PRODUCT, "tif": "GTG", "latest_s": None, "periods": self.pick(1, 2, 2, 3)}
            dearer = {"limit_price_micros": value.limit_price_micros + self.pick(0, 100_000, 200_000)}
            value = value.model_copy(update=changes | dearer)
        if self.is_in_auction and isinstance(value, PostCapacity) and value.node != "n3":
            changes = {"product": PRODUCT, "to_s": value.from_s + 3 * HOUR_MS // 1000, "split": False}
            value = value.model_copy(update=changes | {"gpus": self.pick(2, 3, 4)})
        super().append(value)

    def price(self) -> int:
        return 1_400_000 + 50_000 * self.random.randrange(8)

    def qty(self, lot: int = 1) -> int:
        return lot * self.pick(1, 2, 3, 5)

    def hour(self) -> int:
        return self.hour_from_now(self.pick(1, 2, 2))

    def hold_block_auction(self) -> None:
        rules = TradingRules(auction_block_rounds=self.pick(*self.rounds))
        auction = SetProductState(product=PRODUCT, state="AUCTION", reason="test")
        self.batch("admin", product_terms(PRODUCT, horizon_periods=9, trading=rules), auction)
        self.heartbeats()
        self.is_in_auction = True
        for _ in range(self.random.randrange(8, 32)):
            self.pick(self.place_block, self.place_block, self.post_capacity, self.place_order)()
        self.is_in_auction = False
        self.batch("admin", auction.model_copy(update={"state": "OPEN"}))
        none = dict.fromkeys(("product", "contract", "side", "from_s", "to_s"))
        self.batch("admin", *(CancelAccountOrders(account=each, **none, reason="test") for each in ACCOUNTS))
