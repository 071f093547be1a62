"""What ruleset 5 changed: deadlines happen at their present time, first trades count, no price outlives its halt.

Each story is told under 4, under 5, and under 4 with a move to 5 in its middle; the oracle tells it as 5 does.
"""

from collections.abc import Callable

import pytest

from schemas.orders import CancelAllAfter, PlaceBlock, PostCapacity, ReplaceOrder
from schemas.trading_rules import ScheduledState, TradingRules
from schemas.venue import SetAccountLimits, SetProductState, SetRuleset, Tick
from tests.oracle.oracle import Oracle
from tests.scenarios.engines import ENGINES
from tests.scenarios.venue import PRODUCT, Venue, contract_of, genesis, hour_start_s, limit_order

OTHER, WHOLE, SINGLE = "H100SXM80.CNE.I", "H100SXM80X8.CNE.M", "H100SXM80.CNE.M"
MINUTE_MS = 60_000
UNDER_4, UNDER_5, FROM_4_TO_5 = (4, False), (5, False), (4, True)
Story = Callable[[Venue, Callable[[], None]], list]


def tell(engine_class: type, story: Story, ruleset: int, moves_on: bool) -> list:
    """What comes of a story; in its middle the log may go on by ruleset 5."""
    venue = Venue(engine_class(), with_genesis=False)
    venue.send(genesis(ruleset=ruleset))
    venue.define()
    for account in ("alice", "bob", "op"):
        venue.credit(account, 10**10)
    return story(venue, lambda: venue.batch("admin", SetRuleset(ruleset=5)) if moves_on else None)


def throttle(venue: Venue, account: str) -> None:
    """One order is free, and one more for each trade."""
    pace = {"throttle_window_s": 3600, "throttle_free_orders": 1, "throttle_orders_per_trade": 1}
    venue.batch("admin", SetAccountLimits(account=account, **pace))


def answer_to(venue: Venue, order) -> str:
    event = venue.send(order)[0]
    return event.get("code", event["type"])


# -- deadlines that are moved from the first minute to the third, and others that stay at the second


def ends_of_orders(venue: Venue, move_on: Callable[[], None]) -> list[str]:
    first, second = (
        venue.send(limit_order(number, tif="GTD", expires_ms=venue.now_ms + number * MINUTE_MS))[0]["order_id"]
        for number in (1, 2)
    )
    named = {"command_id": "c-3", "account": "alice", "order_id": first, "client_order_id": None, "replace_id": None}
    venue.send(ReplaceOrder(**named, qty=None, price_micros=None, expires_ms=venue.now_ms + 3 * MINUTE_MS))
    move_on()
    venue.now_ms += 4 * MINUTE_MS
    names = {first: "moved", second: "stayed"}
    return [names[event["order_id"]] for event in venue.send(Tick())]


def ends_of_auctions(venue: Venue, move_on: Callable[[], None]) -> list[str]:
    venue.define(OTHER)
    for product, minutes in ((PRODUCT, 1), (OTHER, 2), (PRODUCT, 3)):
        auction = SetProductState(product=product, state="AUCTION", reason="test", opens_after_s=60 * minutes)
        venue.batch("admin", auction)
    move_on()
    venue.now_ms += 4 * MINUTE_MS
    names = {PRODUCT: "moved", OTHER: "stayed"}
    return [names[event["product"]] for event in venue.send(Tick()) if event["type"] == "product_state_changed"]


def changes_by_schedule(venue: Venue, move_on: Callable[[], None]) -> list[str]:
    for product, minutes in ((PRODUCT, 1), (OTHER, 2), (PRODUCT, 3)):
        day = (ScheduledState(at_s=0, state="OPEN"), ScheduledState(at_s=60 * minutes, state="CLOSED"))
        venue.define(product, trading=TradingRules(schedule=day))
    move_on()
    venue.now_ms += 4 * MINUTE_MS
    names = {PRODUCT: "moved", OTHER: "stayed"}
    return [names[event["product"]] for event in venue.send(Tick()) if event["type"] == "product_state_changed"]


def silences(venue: Venue, move_on: Callable[[], None]) -> list[str]:
    for account, minutes in (("alice", 1), ("bob", 2), ("alice", 3)):
        timer = {"session": "s", "timeout_ms": minutes * MINUTE_MS}
        venue.send(CancelAllAfter(command_id="c-1", account=account, **timer))
    move_on()
    venue.now_ms += 4 * MINUTE_MS
    names = {"alice": "moved", "bob": "stayed"}
    return [names[event["account"]] for event in venue.send(Tick()) if event["type"] == "cancel_timer_fired"]


# -- an account that has traded once by its only free order sends the next one


def trade_of_an_order(venue: Venue, move_on: Callable[[], None]) -> list[str]:
    venue.node("n1", "op", 4)
    throttle(venue, "alice")
    venue.send(limit_order(1, account="op", side="sell", node="n1"))
    move_on()
    return [answer_to(venue, limit_order(number, qty=1, tif="IOC")) for number in (2, 3)]


def trade_of_a_block(venue: Venue, move_on: Callable[[], None]) -> list[str]:
    venue.node("n1", "op", 4)
    throttle(venue, "alice")
    venue.send(limit_order(1, account="op", side="sell", node="n1"))
    move_on()
    terms = {"start_s": hour_start_s(4), "periods": 1, "qty": 1, "min_qty": 1, "limit_price_micros": 2_500_000}
    named = {"command_id": "c-2", "account": "alice", "client_order_id": "id-2", "product": PRODUCT}
    block = PlaceBlock(**named, **terms, max_cost_micros=None, tif="IOC", stp="cancel_newest")
    return [answer_to(venue, block), answer_to(venue, limit_order(3, qty=1, tif="IOC"))]


def trade_in_the_second_book_of_a_split_node(venue: Venue, move_on: Callable[[], None]) -> list[str]:
    for product in (WHOLE, SINGLE):
        venue.define(product)
    venue.node("n8", "op", 8, "H100SXM80X8.CNE")
    throttle(venue, "op")
    named = {"command_id": "c-1", "account": "op", "client_order_id": "id-1", "product": WHOLE, "node": "n8"}
    window = {"gpus": 8, "from_s": hour_start_s(4), "to_s": hour_start_s(5), "split": True}
    whole = PostCapacity(**named, **window, floor_price_micros=2_500_000, floor_curve_micros=None)
    posted = answer_to(venue, whole)
    move_on()
    venue.send(limit_order(2, qty=1, contract=contract_of(4, SINGLE)))
    return [posted, answer_to(venue, limit_order(3, account="op", qty=1, price_micros=10_000))]


# -- a halt that was switched off and on again since the last trade


def trade_far_from_one_before(venue: Venue, move_on: Callable[[], None]) -> list[str]:
    halt = TradingRules(velocity_permille=100, velocity_window_s=3600, velocity_auction_s=60)
    venue.define(trading=halt)
    venue.node("n1", "op", 4)
    for number, price_micros in ((1, 1_000_000), (2, 2_000_000)):
        venue.send(limit_order(number, account="op", side="sell", qty=1, price_micros=price_micros, node="n1"))
    venue.send(limit_order(3, qty=1))
    venue.define()
    move_on()
    venue.define(trading=halt)
    return [event["type"] for event in venue.send(limit_order(4, qty=1))]


IN_TIME, AT_THE_OLD_PLACE = ["stayed", "moved"], ["moved", "stayed"]
STORIES: dict[str, tuple[Story, list[str], list[str]]] = {
    "orders": (ends_of_orders, AT_THE_OLD_PLACE, IN_TIME),
    "auctions": (ends_of_auctions, AT_THE_OLD_PLACE, IN_TIME),
    "schedules": (changes_by_schedule, AT_THE_OLD_PLACE, IN_TIME),
    "silence": (silences, AT_THE_OLD_PLACE, IN_TIME),
    "order": (trade_of_an_order, ["order_accepted", "throttled"], ["order_accepted", "order_accepted"]),
    "block": (trade_of_a_block, ["block_accepted", "throttled"], ["block_accepted", "order_accepted"]),
    "split": (
        trade_in_the_second_book_of_a_split_node,
        ["capacity_accepted", "throttled"],
        ["capacity_accepted", "order_accepted"],
    ),
    "halt": (
        trade_far_from_one_before,
        ["order_accepted", "product_state_changed"],
        ["order_accepted", "trade"],
    ),
}


@pytest.mark.parametrize("story", STORIES)
@pytest.mark.parametrize("name", ENGINES)
def test_a_story_ends_otherwise_since_5_and_as_ever_under_4(name: str, story: str):
    told, before, since = STORIES[story]
    outcomes = [tell(ENGINES[name], told, *under) for under in (UNDER_4, UNDER_5, FROM_4_TO_5)]
    assert outcomes == [before, since, since]


@pytest.mark.parametrize("story", STORIES)
def test_the_oracle_tells_a_story_as_ruleset_5_does(story: str):
    told, _, since = STORIES[story]
    assert tell(Oracle, told, *UNDER_5) == since
