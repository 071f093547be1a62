"""The gateway takes whole commands, wherever a batch of events is cut, and goes on after any event."""

from types import SimpleNamespace

import pytest

from schemas.events import EVENT
from services.gateway.commands.pending import PendingCommands
from services.gateway.handlers import WholeCommands, handle_events
from services.gateway.projections.feeds import Feeds, Session
from services.gateway.projections.history import History
from services.kit.events import EventBatch
from services.kit.store import Position
from tests.unit.services.gateway.following import open_venue


def batches_of(venue, size: int) -> list[EventBatch]:
    events = [EVENT.validate_json(raw) for raw in venue.events]
    cuts = [events[start : start + size] for start in range(0, len(events), size)]
    return [EventBatch(tuple(cut), (), cut[-1].seq, cut[-1].ts_ms, cut[-1].seq + 100) for cut in cuts]


def traded_capacity():
    """A capacity order whose first asks trade at once, while its last ones are still to come."""
    venue = open_venue()
    for hour in (3, 4, 5):
        venue.send(venue.limit("alice", "buy", 2, 3_000_000, hour=hour))
    venue.send(venue.capacity("op", 2, 2_000_000, periods=4))
    return venue


def test_a_batch_that_ends_inside_a_command_gives_the_commands_before_it_and_their_place():
    venue = open_venue()
    venue.send(venue.capacity("op", 2, 2_000_000, periods=4))
    first, rest = batches_of(venue, len(venue.events) - 3)
    whole = WholeCommands(Position(0, 0, None))
    events, position = whole.cut(first)
    before = next(event.seq for event in first.events if event.in_offset == first.events[-1].in_offset) - 1
    assert (events[-1].seq, position) == (before, Position(before, 0, bytes.fromhex(events[-1].prev_link)))
    events, position = whole.cut(rest)
    assert ([event.seq for event in events], position) == (
        list(range(before + 1, len(venue.events) + 1)),
        Position(rest.last_seq, rest.next_offset, None),
    )


@pytest.mark.parametrize("size", range(1, 9))
def test_what_is_written_and_forgotten_after_any_batch_changes_no_record(size):
    venue = traded_capacity()
    history, tables, whole = History(), {}, WholeCommands(Position(0, 0, None))
    for batch in batches_of(venue, size):
        events, position = whole.cut(batch)
        handle_events(events, history, PendingCommands(), Feeds(history))
        assert history.seq <= position.seq
        changes = history.drain_changes()
        tables |= changes.orders
        history.forget(changes)
    assert tables == venue.history.orders


def test_a_record_that_cannot_be_shown_ends_neither_the_reader_nor_the_session():
    venue = traded_capacity()
    feeds, session = Feeds(venue.history), Session("op", "key-op", 100)
    session.channels = {"orders", "fills"}
    feeds.join(session)
    (parent,) = [order for order in venue.history.orders.values() if order.kind == "capacity" and not order.parent_id]
    parent.remaining_qty = -1
    event = SimpleNamespace(seq=99, type="trade")
    fill = next(iter(venue.history.drain_changes().fills.values()))
    feeds.publish(event, [parent, fill])
    assert [seq for seq, _ in session.queue._queue] == [99]
