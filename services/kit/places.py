"""A database's place in the event log: whether it is the log that the database was made from, and what comes after."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from schemas.topics import EVENTS
from services.kit.events import EventBatch, EventReader, follow, seq_of
from services.kit.kafka import kafka_client_options
from services.kit.operators import NeedsOperator
from services.kit.reading import start_reading
from services.kit.settings import Settings
from services.kit.stopping import stop_client
from services.kit.store import AWAY, DatabaseAway, Position

PARTITION = TopicPartition(EVENTS.name, 0)


class LogLost(NeedsOperator):
    """The event log ends before what a database has of it."""


class ForeignLog(NeedsOperator):
    """The event log is not the one that a database was made from."""


async def find_place(settings: Settings, position: Position) -> int:
    """Returns the offset after the event at which a cursor stands, waiting for Kafka as long as it is away.

    A log that is too short may still grow: after a power cut the engine writes its last events again. Raises LogLost
    where it does not, ForeignLog where another event has the cursor's number.
    """
    if position.seq == 0:
        return 0
    loop = asyncio.get_running_loop()
    seen_end, grown_at = -1, loop.time()
    while True:
        consumer = AIOKafkaConsumer(**kafka_client_options(settings), enable_auto_commit=False)
        try:
            await start_reading(consumer, PARTITION.topic)
            consumer.assign([PARTITION])
            end = (await consumer.end_offsets([PARTITION]))[PARTITION]
            found = await _offset_of(consumer, position, end)
            if found is not None:
                return found + 1
            if end > seen_end:
                seen_end, grown_at = end, loop.time()
            if loop.time() - grown_at > settings.event_log_grows_within_s:
                raise LogLost(f"the event log ends at record {end}, the database has event {position.seq} of it")
            log = structlog.get_logger()
            log.warning("the event log is too short", end=end, seq=position.seq, see=NeedsOperator.runbook)
        except (KafkaError, OSError) as error:
            structlog.get_logger().warning("waiting for Kafka", address=settings.kafka, error=repr(error))
        finally:
            await stop_client(consumer)
        await asyncio.sleep(settings.reconnect_delay_s)


async def follow_from(
    settings: Settings,
    read_cursor: Callable[[], Awaitable[Position]],
    handle: Callable[[Position, EventBatch], Awaitable[object]],
    caught_up: Callable[[], None],
    **options: Any,
) -> None:
    """Follows the log for whoever keeps a cursor in PostgreSQL, and waits while that is away.

    `handle` is given where the cursor stands, and moves it with the batch's effects. After a failure the cursor is read
    again: it says whether a commit whose end was not seen has happened. `options` are the reader's.
    """
    while True:
        try:
            await _follow_once(settings, await read_cursor(), handle, caught_up, options)
        except (*AWAY, DatabaseAway) as error:
            structlog.get_logger().warning("events wait for PostgreSQL", error=str(error))
            await asyncio.sleep(settings.reconnect_delay_s)


async def _follow_once(
    settings: Settings,
    position: Position,
    handle: Callable[[Position, EventBatch], Awaitable[object]],
    caught_up: Callable[[], None],
    options: Mapping[str, Any],
) -> None:
    async def take(batch: EventBatch) -> None:
        nonlocal position
        await handle(position, batch)
        position = batch.position

    reader = EventReader(settings, await find_place(settings, position), position.seq, **options)
    await follow(reader, take, caught_up)


async def _offset_of(consumer: AIOKafkaConsumer, position: Position, end: int) -> int | None:
    """Finds the cursor's event; each event has its record, so it cannot stand before offset `seq` − 1."""
    start = position.seq - 1
    consumer.seek(PARTITION, min(start, end))
    while start < end:
        found = await consumer.getmany(PARTITION, timeout_ms=500, max_records=500)
        for record in found.get(PARTITION, ()):
            start = record.offset + 1
            seq = seq_of(record)
            if seq < position.seq:
                continue  # written again by a restarted engine
            is_known = position.event_sha256 in (None, sha256(record.value).digest())
            if seq > position.seq or not is_known:
                raise ForeignLog(f"event {position.seq} is not the one that the database has of that number")
            return record.offset
    return None
