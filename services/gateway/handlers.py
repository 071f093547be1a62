"""Events in: fold them into the history, decide who was waiting, feed the sessions, and tell the recorder."""

import asyncio

from prometheus_client import Counter

from services.gateway.decisions import Decisions
from services.gateway.feeds import Feeds
from services.gateway.history import History
from services.gateway.recorder import Recorder
from services.kit.events import EventBatch, EventReader

EVENTS_READ = Counter("hourbook_gateway_events_read", "Events read from the event log")
EVENTS_PER_BATCH = 500


async def follow_events(
    reader: EventReader, history: History, decisions: Decisions, feeds: Feeds, recorder: Recorder
) -> None:
    """Reads the event log for ever."""
    async for batch in reader.batches():
        take_batch(batch, history, decisions, feeds)
        recorder.note(batch.last_seq, batch.next_offset)
        EVENTS_READ.inc(len(batch.events))
        await asyncio.sleep(0)


def take_batch(batch: EventBatch, history: History, decisions: Decisions, feeds: Feeds) -> None:
    """Takes events one by one, without a pause: between batches the history is exactly what the recorder notes."""
    for event in batch.events:
        records = history.apply(event)
        decisions.add(event, records)
        feeds.publish(event, records)
