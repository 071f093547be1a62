"""What the events make of orders, refusals, fills, positions and balances."""

import pytest

from schemas.venue import CloseDispute, EndBlock, OpenDispute, SetAccountLimits, SettlePosition
from services.gateway.projections.history import Changes
from services.gateway.projections.records import OPEN, asks_the_same, terms_of
from services.gateway.projections.views import Views, as_first_decided
from tests.scenarios.venue import PRODUCT, contract_of
from tests.unit.services.gateway.following import open_venue


@pytest.fixture
def venue():
    return open_venue()


def standing(order) -> tuple:
    return order.status, order.qty, order.filled_qty, order.remaining_qty, order.filled_micros, order.reason


def only_order(venue):
    return list(venue.history.orders.values())[-1]


def test_a_resting_bid_is_new_with_its_terms_and_its_money_held(venue):
    bid = venue.limit("alice", "buy", 4, 2_000_000)
    venue.send(bid)
    order = only_order(venue)
    assert standing(order) == ("new", 4, 0, 4, 0, None)
    assert terms_of(order) == bid.model_dump(exclude={"command_id"})
    balance = venue.history.balances["alice", "CNY"]
    assert (balance.available_micros, balance.held_micros) == (992_000_000, 8_000_000)


def test_a_trade_fills_both_sides_and_opens_a_position(venue):
    venue.send(venue.limit("op", "sell", 4, 2_000_000))
    venue.send(venue.limit("alice", "buy", 3, 2_500_000))
    ask, bid = venue.history.orders.values()
    assert standing(ask) == ("partially_filled", 4, 3, 1, 6_000_000, None)
    assert standing(bid) == ("filled", 3, 3, 0, 6_000_000, None)
    fill = next(iter(venue.history.drain_changes().fills.values()))
    assert (fill.buyer, fill.seller, fill.buyer_order_id, fill.seller_order_id) == ("alice", "op", 2, 1)
    assert (fill.taker_side, fill.qty, fill.price_micros, fill.value_micros) == ("buy", 3, 2_000_000, 6_000_000)
    position = venue.history.positions[1]
    assert (position.state, position.buyer_order_id, position.operator_order_id) == ("OPEN", 2, 1)


def test_an_order_remembers_how_its_own_command_left_it(venue):
    venue.send(venue.limit("op", "sell", 1, 2_000_000))
    venue.send(venue.limit("alice", "buy", 3, 2_000_000))
    venue.send(venue.limit("op", "sell", 2, 2_000_000))
    bid = venue.history.orders[2]
    assert standing(bid) == ("filled", 3, 3, 0, 6_000_000, None)
    assert (bid.first_filled_qty, bid.first_remaining, bid.first_filled_micros) == (1, 2, 2_000_000)


def test_a_canceled_order_has_nothing_left_and_its_reason(venue):
    venue.send(venue.limit("alice", "buy", 4, 2_000_000))
    venue.send(venue.cancel("alice", 1))
    assert standing(only_order(venue)) == ("canceled", 4, 0, 0, 0, "user")


def test_an_order_that_misses_says_why(venue):
    venue.send(venue.limit("op", "sell", 1, 3_000_000))
    venue.send(venue.limit("alice", "buy", 2, 2_000_000, tif="IOC"))
    miss = only_order(venue)
    assert standing(miss) == ("canceled", 2, 0, 0, 0, "ioc_remainder")
    assert (miss.why_reason, miss.why_best_micros, miss.why_missing) == ("price", 3_000_000, 2)


def test_an_order_that_the_gate_closes_on_is_expired(venue):
    venue.send(venue.limit("alice", "buy", 4, 2_000_000))
    venue.now_ms += 3 * 3_600_000
    venue.credit("bob", 1)
    assert standing(only_order(venue)) == ("expired", 4, 0, 0, 0, "gate_closed")


def test_a_capacity_order_counts_its_asks(venue):
    venue.send(venue.capacity("op", 8, 2_000_000))
    parent, *asks = venue.history.orders.values()
    assert (standing(parent), parent.asks_open, parent.periods) == (("new", 8, 0, 16, 0, None), 2, 2)
    venue.send(venue.limit("alice", "buy", 3, 2_000_000))
    assert standing(parent) == ("partially_filled", 8, 3, 13, 6_000_000, None)
    venue.send(venue.cancel("op", parent.order_id))
    assert (standing(parent), parent.asks_open) == (("canceled", 8, 3, 0, 6_000_000, "user"), 0)
    assert [ask.status for ask in asks] == ["canceled", "canceled"]


def test_a_capacity_order_is_filled_when_its_last_ask_is(venue):
    venue.send(venue.capacity("op", 2, 2_000_000))
    venue.send(venue.block("alice", 2, 2_000_000))
    parent, _, _, block = venue.history.orders.values()
    assert standing(parent) == ("filled", 2, 4, 0, 8_000_000, None)
    assert standing(block) == ("filled", 2, 2, 0, 8_000_000, None)


def test_a_resale_splits_the_position_and_the_buyer_has_it_from_the_operator(venue):
    venue.send(venue.limit("op", "sell", 4, 2_000_000))
    venue.send(venue.limit("alice", "buy", 4, 2_000_000))
    venue.send(venue.resale("alice", 3, 2_500_000, periods=1))
    venue.send(venue.limit("bob", "buy", 3, 2_500_000))
    venue.send(venue.limit("alice", "sell", 1, 2_000_000, node=None))
    venue.send(venue.limit("bob", "buy", 1, 2_000_000))
    parent = venue.history.orders[3]
    assert (parent.kind, *standing(parent)) == ("resell", "filled", 3, 3, 0, 7_500_000, None)
    old, first, second = venue.history.positions.values()
    assert (old.state, old.qty, old.escrow_micros, old.bond_micros) == ("RESOLD", 0, 0, 0)
    assert (first.buyer, first.operator, first.qty, first.operator_order_id) == ("bob", "op", 3, 1)
    assert (first.price_micros, first.escrow_micros, second.qty) == (2_000_000, 6_000_000, 1)
    fill = venue.history.drain_changes().fills[2]
    assert (fill.seller, fill.price_micros, fill.value_micros) == ("alice", 2_500_000, 7_500_000)


def test_a_refused_order_is_kept_as_a_refusal_under_its_client_id(venue):
    venue.send(venue.limit("alice", "buy", 1_000, 2_000_000, client_order_id="big"))
    refusal = venue.history.order_of_client("alice", "big")
    assert (refusal.code, refusal.command) == ("insufficient_funds", "place_order")
    assert venue.history.orders == {}


def test_a_conflicting_repeat_and_a_refused_cancel_leave_no_refusal(venue):
    venue.send(venue.limit("alice", "buy", 1, 2_000_000, client_order_id="mine"))
    venue.send(venue.limit("alice", "buy", 2, 2_000_000, client_order_id="mine"))
    venue.send(venue.cancel("bob", 1))
    assert venue.history.refusals == {}
    assert venue.history.order_of_client("alice", "mine").qty == 1


def test_a_position_goes_through_its_states_to_its_settlement(venue):
    venue.send(venue.limit("op", "sell", 4, 2_000_000))
    venue.send(venue.limit("alice", "buy", 4, 2_000_000))
    position, seen = venue.history.positions[1], []
    for minutes in (175, 10, 70):
        venue.now_ms += minutes * 60_000
        venue.credit("bob", 1)
        seen.append(position.state)
    meter = {"excused_gpu_s": 0, "delivered_gpu_s": 14_400, "used_gpu_s": 0, "noticed": False, "recalled_gpus": 0}
    venue.batch("delivery", SettlePosition(position_id=1, revision=1, meter_digest="0" * 64, **meter))
    assert seen == ["LOCKED", "DELIVERING", "METERED"]
    amounts = (position.gross_micros, position.fee_micros, position.buyer_micros, position.operator_micros)
    assert (position.state, position.revision, amounts) == (
        "SETTLED_PROVISIONAL",
        1,
        (8_000_000, 80_000, -8_000_000, 7_920_000),
    )
    venue.batch("delivery", OpenDispute(position_id=1, opened_by="buyer", reason="no_access"))
    venue.now_ms += 86_400_000 * 2
    venue.credit("bob", 1)
    assert position.state == "DISPUTED"
    venue.batch("delivery", CloseDispute(position_id=1, reason="nothing_found"))
    assert position.state == "SETTLED_FINAL"


def test_an_operator_sees_until_when_his_payout_is_held_and_his_buyer_nothing_of_it(venue):
    venue.node("node-op", "op", 8, level="T0")
    venue.send(venue.limit("op", "sell", 4, 2_000_000))
    venue.send(venue.limit("alice", "buy", 4, 2_000_000))
    venue.now_ms += 255 * 60_000
    meter = {"excused_gpu_s": 0, "delivered_gpu_s": 14_400, "used_gpu_s": 0, "noticed": False, "recalled_gpus": 0}
    venue.batch("delivery", SettlePosition(position_id=1, revision=1, meter_digest="0" * 64, **meter))
    views = Views(venue.history)
    seen = [views.position(venue.history.positions[1], account) for account in ("op", "alice")]
    held = [(view.net, view.payout_held, view.payout_held_until) for view in seen]
    assert held == [("7.92", "7.92", "2026-11-23T04:00:00.000000Z"), ("-8.00", "0.00", None)]
    position = venue.history.positions[1]
    venue.now_ms += 86_400_000
    venue.credit("bob", 1)
    final = views.position(position, "op")
    assert (final.state, final.payout_held, final.payout_held_until) == ("SETTLED_FINAL", "0.00", None)


def test_a_position_that_its_buyer_ended_is_over(venue):
    venue.send(venue.limit("op", "sell", 4, 2_000_000))
    venue.send(venue.block("alice", 4, 2_000_000, periods=1))
    (position,) = venue.history.positions.values()
    venue.batch("delivery", EndBlock(block_id=position.block_id, account="alice", reason="outage"))
    assert (position.state, position.escrow_micros, position.bond_micros) == ("ENDED", 0, 0)


def test_changes_are_handed_over_once_and_hold_each_record_as_it_stands(venue):
    venue.send(venue.limit("alice", "buy", 4, 2_000_000))
    venue.send(venue.cancel("alice", 1))
    changes = venue.history.drain_changes()
    assert [order.status for order in changes.orders.values()] == ["canceled"]
    assert set(changes.products) == {"H100SXM80.CNE.F"}
    assert venue.history.drain_changes() == Changes()


def test_what_is_over_and_written_is_forgotten_and_what_lives_is_kept(venue):
    venue.send(venue.limit("alice", "buy", 4, 2_000_000, client_order_id="gone"))
    venue.send(venue.limit("alice", "buy", 1, 2_000_000, client_order_id="lives"))
    venue.send(venue.cancel("alice", 1))
    venue.history.forget(venue.history.drain_changes())
    assert list(venue.history.orders) == [2]
    assert venue.history.order_of_client("alice", "gone") is None
    assert venue.history.order_of_client("alice", "lives").order_id == 2


def test_what_changed_again_while_it_was_written_is_kept_until_that_is_written_too(venue):
    venue.send(venue.limit("alice", "buy", 4, 2_000_000))
    changes = venue.history.drain_changes()
    venue.send(venue.cancel("alice", 1))
    venue.history.forget(changes)
    assert [order.status for order in venue.history.orders.values()] == ["canceled"]


def test_limits_and_protections_are_kept_as_last_set(venue):
    venue.batch("admin", SetAccountLimits(account="alice", max_open_orders=5))
    venue.send(venue.protection("alice", qty=8, window_ms=1_000))
    venue.send(venue.protection("alice", qty=None, window_ms=None))
    venue.batch("admin", SetAccountLimits(account="alice", max_position_gpus=16))
    limits = {"max_open_orders": None, "max_position_gpus": 16}
    throttle = {"throttle_free_orders": 0, "throttle_orders_per_trade": 0, "throttle_window_s": 0}
    known = {key: rule.terms for key, rule in venue.history.rules.items()}
    assert known == {
        ("alice", ""): limits | throttle,
        ("alice", PRODUCT): {"qty": None, "window_ms": None},
    }
    assert venue.history.changes.rules == venue.history.rules


def test_a_restored_history_goes_on_as_if_it_had_never_stopped(venue):
    venue.send(venue.capacity("op", 8, 2_000_000))
    venue.send(venue.limit("alice", "buy", 3, 2_000_000))
    before = venue.history
    restored = type(before)()
    records = [*before.orders.values(), *before.positions.values(), *before.balances.values(), *before.rules.values()]
    restored.restore(records, before.products.values(), before.programmes.values(), before.seq, before.newest_order_id)
    venue.history = restored
    venue.send(venue.limit("bob", "buy", 1, 2_000_000))
    assert standing(restored.orders[1]) == ("partially_filled", 8, 4, 12, 8_000_000, None)
    assert [position.contract for position in restored.positions.values()] == [contract_of(3)] * 2


def test_a_parent_moves_with_an_ask_that_is_replaced(venue):
    venue.send(venue.limit("op", "sell", 3, 2_000_000))
    venue.send(venue.limit("alice", "buy", 3, 2_000_000))
    venue.send(venue.resale("alice", 1, 2_500_000, periods=1))
    parent, ask = venue.history.orders[3], venue.history.orders[4]
    venue.send(venue.replace("alice", ask.order_id, qty=3))
    assert (parent.remaining_qty, ask.remaining_qty) == (3, 3)
    venue.send(venue.limit("bob", "buy", 2, 2_500_000))
    assert standing(parent) == ("partially_filled", 1, 2, 1, 5_000_000, None)
    venue.send(venue.limit("bob", "buy", 1, 2_500_000))
    assert standing(parent) == ("filled", 1, 3, 0, 7_500_000, None)
    assert Views(venue.history).order(parent).remaining_qty == 0


def test_an_event_that_names_what_the_history_does_not_know_moves_its_money_and_ends_nothing(venue):
    venue.send(venue.limit("alice", "buy", 4, 2_000_000))
    venue.history.orders.clear()
    venue.send(venue.cancel("alice", 1))
    balance = venue.history.balances["alice", "CNY"]
    assert (balance.available_micros, balance.held_micros) == (1_000_000_000, 0)


def test_a_repeat_of_an_order_shows_it_as_its_own_command_left_it_whatever_came_after(venue):
    sent = (
        venue.limit("alice", "buy", 3, 1_000_000),
        venue.capacity("op", 8, 2_000_000),
        venue.flex("bob", 2, 1_500_000, periods=1, wait=2),
    )
    views, first = Views(venue.history), {}
    for command in sent:
        venue.send(command)
        order = next(each for each in venue.history.orders.values() if each.client_order_id == command.client_order_id)
        first[order.order_id] = views.order(order)
    bid, capacity, flex = first
    venue.send(venue.replace("alice", bid, qty=1, price_micros=500_000))
    venue.send(venue.replace("alice", bid, qty=2))
    venue.send(venue.reprice("op", capacity, 1_200_000))
    assert (first[bid].qty, venue.history.orders[bid].qty) == (3, 2)
    assert venue.history.orders[flex].begins_s is not None
    again = {key: views.order(as_first_decided(venue.history.orders[key])) for key in first}
    assert again == first


def test_what_an_account_has_is_found_without_looking_at_the_others_and_forgotten_with_the_rest(venue):
    venue.send(venue.capacity("op", 8, 2_000_000))
    venue.send(venue.limit("alice", "buy", 3, 2_000_000))
    venue.send(venue.limit("alice", "buy", 3, 1_000_000))
    history = venue.history
    for account in ("op", "alice", "bob", "nobody"):
        orders, positions = history.orders.values(), history.positions.values()
        assert history.open_orders_of(account) == [o for o in orders if o.account == account and o.status in OPEN]
        assert history.positions_held_by(account) == [p for p in positions if account in (p.buyer, p.operator)]
        assert history.balances_of(account) == [b for b in history.balances.values() if b.account == account]
    assert len(history.open_orders_of("alice")) == len(history.positions_held_by("alice")) == 1
    venue.send(venue.cancel_all("alice"))
    history.forget(history.drain_changes())
    assert history.open_orders_of("alice") == []
    assert "alice" not in history._own_orders


def test_the_quantities_of_an_order_that_was_reduced_add_up_and_a_repeat_of_it_gets_its_first_answer(venue):
    ask = venue.limit("op", "sell", 5, 2_000_000)
    venue.send(ask)
    views = Views(venue.history)
    first = views.order(venue.history.orders[1])
    venue.send(venue.limit("op", "buy", 3, 2_000_000, stp="decrement_and_cancel"))
    venue.send(venue.limit("alice", "buy", 1, 2_000_000))
    shrunk = venue.history.orders[1]
    assert standing(shrunk)[:4] == ("partially_filled", 2, 1, 1)
    assert (shrunk.reduced_qty, first.qty, first.reduced_qty) == (3, 5, 0)
    assert views.order(as_first_decided(shrunk)) == first
    assert asks_the_same(ask.model_dump(exclude={"command_id"}), shrunk)

    bid = venue.limit("op", "buy", 6, 2_000_000, stp="decrement_and_cancel")
    venue.send(bid)
    taker = only_order(venue)
    assert (*standing(taker)[:4], taker.reduced_qty) == ("new", 5, 0, 5, 1)
    first = views.order(taker)
    venue.send(venue.replace("op", taker.order_id, qty=4))
    assert (*standing(taker)[:4], taker.reduced_qty) == ("new", 4, 0, 4, 1)
    assert views.order(as_first_decided(taker)) == first
    assert asks_the_same(bid.model_dump(exclude={"command_id"}), taker)


def test_a_repeat_of_a_capacity_order_whose_asks_were_reduced_gets_its_first_answer(venue):
    venue.send(venue.capacity("op", 8, 2_000_000))
    views, parent = Views(venue.history), venue.history.orders[1]
    first = views.order(parent)
    venue.send(venue.limit("op", "buy", 3, 2_000_000, stp="decrement_and_cancel"))
    assert (parent.reduced_qty, parent.remaining_qty, first.reduced_qty) == (3, 13, 0)
    assert views.order(as_first_decided(parent)) == first
