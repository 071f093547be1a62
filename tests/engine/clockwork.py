"""Deadlines that are moved, throttles and halts that come and go: what happens in which order when log time jumps."""

from schemas.orders import CancelAllAfter, PlaceOrder, ReplaceOrder
from schemas.trading_rules import ScheduledState, TradingRules
from schemas.venue import SetAccountLimits, SetProductState, Tick
from tests.engine.all_kinds import AllKinds
from tests.engine.cast import PRODUCTS
from tests.scenarios.venue import PRODUCT, contract_of, product_terms

MINUTE_MS = 60_000
DAY_S = 86_400
MOVED, STAYED = (1, 3), 2  # minutes: from when to when a deadline is moved, and another one between the two


class Clockwork(AllKinds):
    """Whatever can be moved is, past another deadline, and then log time jumps over all of them."""

    odds = AllKinds.odds | {
        "move_an_end": 25,
        "move_an_auction": 10,
        "move_a_schedule": 5,
        "move_a_timer": 15,
        "throttle": 40,
        "switch_a_halt": 25,
    }
    conditions_one_in = 3

    def jump(self) -> None:
        self.now_ms += 4 * MINUTE_MS
        self.append(Tick())
        self.heartbeats()

    def bid_until(self, minutes: int) -> PlaceOrder:
        """A bid of bob's that trades with nobody and ends so soon."""
        order = PlaceOrder(
            command_id=self.command_id(),
            account="bob",
            client_order_id=f"until-{self.offset}",
            contract=contract_of(self.hour_from_now(4)),
            side="buy",
            kind="limit",
            qty=1,
            price_micros=10_000,
            max_cost_micros=None,
            tif="GTD",
            post_only=False,
            node=None,
            expires_ms=self.now_ms + minutes * MINUTE_MS,
            stp="cancel_newest",
        )
        self.append(order)
        return order

    def move_an_end(self) -> None:
        first = self.bid_until(MOVED[0])
        self.bid_until(STAYED)
        named = {"account": "bob", "order_id": None, "client_order_id": first.client_order_id, "replace_id": None}
        end = {"qty": None, "price_micros": None, "expires_ms": self.now_ms + MOVED[1] * MINUTE_MS}
        self.append(ReplaceOrder(command_id=self.command_id(), **named, **end))
        self.jump()

    def move_an_auction(self) -> None:
        for product, minutes in ((PRODUCTS[0], MOVED[0]), (PRODUCTS[1], STAYED), (PRODUCTS[0], MOVED[1])):
            head = {"product": product, "state": "AUCTION", "reason": "test"}
            self.batch("admin", SetProductState(**head, opens_after_s=60 * minutes))
        self.place_order()
        self.jump()
        self.reopen()

    def move_a_schedule(self) -> None:
        second = self.now_ms // 1000 % DAY_S
        for product, minutes in ((PRODUCTS[1], MOVED[0]), (PRODUCTS[3], STAYED), (PRODUCTS[1], MOVED[1])):
            closes = ScheduledState(at_s=(second + 60 * minutes) % DAY_S, state="CLOSED")
            rules = TradingRules(schedule=(ScheduledState(at_s=0, state="OPEN"), closes))
            self.batch("admin", product_terms(product, horizon_periods=9, trading=rules))
        self.jump()
        self.batch("admin", *(product_terms(product, horizon_periods=9) for product in (PRODUCTS[1], PRODUCTS[3])))
        self.reopen()

    def move_a_timer(self) -> None:
        self.place_order()
        self.bid_until(9)
        for account, minutes in (("alice", MOVED[0]), ("bob", STAYED), ("alice", MOVED[1])):
            timer = {"session": "s3", "timeout_ms": minutes * MINUTE_MS}
            self.append(CancelAllAfter(command_id=self.command_id(), account=account, **timer))
        self.jump()

    def throttle(self) -> None:
        """An account may send one order, and one more for each trade."""
        account = self.pick("alice", "bob", "op")
        pace = {"throttle_window_s": 3600, "throttle_free_orders": 1, "throttle_orders_per_trade": 1}
        self.batch("admin", SetAccountLimits(account=account, **pace))
        for _ in range(6):
            order = self.an_order()
            owns = order.side == "buy" or (account == "op" and order.node in ("n1", "n2"))
            self.append(order.model_copy(update={"account": account} if owns else {}))
        self.batch("admin", SetAccountLimits(account=account))

    def switch_a_halt(self) -> None:
        """A velocity halt that is off for a moment, and trades on both sides of it."""
        rules = {"velocity_permille": self.pick(5, 20), "velocity_window_s": 3600, "velocity_auction_s": 5}
        with_halt = product_terms(PRODUCT, horizon_periods=9, trading=TradingRules(**rules))
        without = product_terms(PRODUCT, horizon_periods=9)
        for terms, orders in (((with_halt,), 8), ((without, with_halt), 4)):
            self.batch("admin", *terms)
            for _ in range(orders):
                self.place_order()
        self.batch("admin", without)
        self.now_ms += 6_000
        self.append(Tick())
