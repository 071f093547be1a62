"""The random logs see a fault in a view, or in what the engine tells, wherever one is sown."""

from typing import Any

import pytest

from matching_engine.rules import resale, rulesets
from schemas import events as ev
from services.gateway.projections import apply, history, orders, positions
from services.gateway.projections.records import Position
from services.kit.events import EventBatch
from services.kit.store import Position as Place
from services.market_data.domain import Market
from tests.engine.all_kinds import AllKinds
from tests.property.services import followers
from tests.property.services.followers import Disagreement, follow

SEEDS = range(120)  # the rarest of these faults shows itself in one log of fifty
EVENTS = 2_500
split_off = positions._split_off


class AnyCut:
    """Batches as they come, commands in pieces."""

    def __init__(self, position: Place):
        pass

    def cut(self, batch: EventBatch) -> tuple[list[ev.AnyEvent], Place]:
        return [*batch.events], Place(batch.last_seq, batch.next_offset, None)


def replaced_alone(history: history.History, event: ev.OrderReplaced) -> None:
    order = history.orders[event.order_id]
    order.qty, order.remaining_qty, order.price_micros = event.qty, event.qty_left, event.price_micros
    history.changed(order, event)


def reduced_alone(history: history.History, event: ev.OrderReduced) -> None:
    order = history.orders[event.order_id]
    order.remaining_qty = event.qty_left
    history.changed(order, event)


def vouchers_stay(history: history.History, event: ev.VouchersSettled) -> None:
    position = history.positions.get(event.position_id)
    if position is not None:
        history.changed(position, event)


def resold_whole(history: history.History, source: Position, event: ev.Trade) -> None:
    history.changed(source, event)


def resold_open(history: history.History, source: Position, event: ev.Trade) -> None:
    split_off(history, source, event)
    source.state = "OPEN"


def forget_all(self: history.History, flushed: history.Changes) -> None:
    for order_id in flushed.orders:
        self.orders.pop(order_id, None)


def nothing(*_: Any, **__: Any) -> None:
    pass


def more_of_any(market: Any, order: Any, qty: int) -> resale.Backing:
    return resale.find_backing(market, order.account, order.contract, qty)


FAULTS: dict[str, tuple[Any, str, Any]] = {
    "every part of an auction's resale tells the last remainder": (
        rulesets,
        "tells_parts_of_a_resale",
        lambda market: False,
    ),
    "a resale grows into positions that were not named": (resale, "find_more", more_of_any),
    "a parent does not move with its replaced ask": (apply.HANDLERS, "order_replaced", replaced_alone),
    "a forgotten contract cannot become void": (Market, "_is_forgotten", lambda self, name: False),
    "a command is handled in pieces": (followers, "WholeCommands", AnyCut),
    "a parent does not move with its reduced ask": (apply.HANDLERS, "order_reduced", reduced_alone),
    "an ended position stays": (apply.HANDLERS, "position_ended", nothing),
    "what is resold stays the seller's": (positions, "_split_off", resold_whole),
    "a position that is resold whole stays open": (positions, "_split_off", resold_open),
    "returned vouchers stay with the position": (apply.HANDLERS, "vouchers_settled", vouchers_stay),
    "open orders are forgotten": (history.History, "forget", forget_all),
    "an iceberg's parts are not shown": (Market, "_on_displayed", nothing),
    "a repeat shows later terms": (orders, "note_first_terms", nothing),
    "a final position is not over": (apply.HANDLERS, "position_finalized", nothing),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_a_seeded_fault_is_seen(name, monkeypatch):
    owner, member, fault = FAULTS[name]
    if isinstance(owner, dict):
        monkeypatch.setitem(owner, member, fault)
    else:
        monkeypatch.setattr(owner, member, fault)
    with pytest.raises(Disagreement):
        for seed in SEEDS:
            follow(AllKinds(seed), EVENTS, seed)
