"""Events in: applied to the history, handed to those who wait for them, fed to the sessions, noted for the recorder."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from prometheus_client import Counter

from schemas.events import AnyEvent
from services.gateway.commands.pending import PendingCommands
from services.gateway.projections.apply import apply
from services.gateway.projections.feeds import Feeds
from services.gateway.projections.history import History
from services.gateway.recorder import Recorder
from services.kit.events import EventBatch
from services.kit.store import Position

EVENTS_READ = Counter("hourbook_gateway_events_read", "Events read from the event log")
EVENTS_PER_BATCH = 500


def batch_handler(
    history: History, pending: PendingCommands, feeds: Feeds, recorder: Recorder
) -> Callable[[EventBatch], Awaitable[None]]:
    """Return what handles the batches of the event log, in their order."""
    commands = WholeCommands(recorder.position)

    async def handle(batch: EventBatch) -> None:
        events, position = commands.cut(batch)
        handle_events(events, history, pending, feeds)
        recorder.note(position)
        EVENTS_READ.inc(len(batch.events))
        await asyncio.sleep(0)

    return handle


class WholeCommands:
    """Cuts batches between commands: of one whose last events are still to come, none is handled.

    So what a command made lives until its last event, however soon it is over and written, also over a restart.
    """

    def __init__(self, position: Position):
        self._position, self._next_offset = position, position.next_offset
        self._pending: list[AnyEvent] = []

    def cut(self, batch: EventBatch) -> tuple[list[AnyEvent], Position]:
        """Return the events of the commands that are whole now, and where to go on after them."""
        events = [*self._pending, *batch.events]
        whole = next((place for place in range(len(events), 0, -1) if is_last(events[place - 1])), 0)
        events, self._pending = events[:whole], events[whole:]
        if not self._pending:
            self._position = batch.position
        elif events:
            # The reader drops what it reads again.
            self._position = Position(events[-1].seq, self._next_offset, bytes.fromhex(events[-1].prev_link))
        self._next_offset = batch.next_offset
        return events, self._position


def is_last(event: AnyEvent) -> bool:
    """Say whether an event is the last one of its command."""
    return event.index + 1 == event.count


def handle_events(events: Sequence[AnyEvent], history: History, pending: PendingCommands, feeds: Feeds) -> None:
    """Handle whole commands, without a pause: between batches the history is exactly what the recorder notes."""
    for event in events:
        records = apply(history, event)
        pending.add(event, records)
        feeds.publish(event, records)
