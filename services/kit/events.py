"""Readers of the event log: from any offset, in batches, each event once, in sequence, or a loud stop."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from hashlib import sha256

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError
from pydantic import ValidationError

from schemas.events import EVENT, AnyEvent, Event
from schemas.topics import EVENTS
from services.kit.kafka import kafka_client_options
from services.kit.operators import NeedsOperator
from services.kit.reading import start_reading
from services.kit.settings import FETCH_MAX_WAIT_MS, Settings
from services.kit.stopping import stop_client
from services.kit.store import Position

FETCH_TIMEOUT_MS = 1_000  # how long a reader sleeps when nothing comes; what comes wakes it at once
STALLED_AFTER_S = 10.0
HEADER = re.compile(
    rb'^\{"type":"([a-z_]+)","shard":\d+,"seq":(\d+),"in_offset":\d+,"index":\d+,"count":\d+,"ts_ms":(\d+),'
)


class EventLogError(NeedsOperator):
    """The base of this module's errors; each ends the reader."""


class SequenceGap(EventLogError):
    """A sequence number is missing in the event log."""


class BrokenEvent(EventLogError):
    """A record of the event log is no event."""


@dataclass(frozen=True)
class EventBatch:
    """Consecutive events (of the kinds asked for) and where to go on: `next_offset` in the topic, `last_seq` in the
    sequence, `last_ts_ms` in the log's time, `last_sha256` the digest of the last event's record.
    """

    events: tuple[AnyEvent, ...]
    raws: tuple[bytes, ...]
    last_seq: int
    last_ts_ms: int
    next_offset: int
    last_sha256: bytes | None = None

    @property
    def position(self) -> Position:
        """Where a reader stands that has taken the batch."""
        return Position(self.last_seq, self.next_offset, self.last_sha256)


class EventReader:
    """Reads events after `seq` from `offset` on. Records with a sequence not above the last (a restarted engine's)
    are dropped.

    Whoever needs few of them names their `kinds`: of the others only the header is read.
    After each batch it waits `linger_s` (default: the setting), so that a busy log costs a reader few transactions;
    whoever answers somebody passes 0.
    """

    def __init__(
        self,
        settings: Settings,
        offset: int = 0,
        seq: int = 0,
        records_max: int = 2_000,
        linger_s: float | None = None,
        kinds: Iterable[type[Event]] | None = None,
    ):
        self._settings, self._records_max = settings, records_max
        self._linger_s = settings.event_linger_s if linger_s is None else linger_s
        self._offset, self._seq, self._ts_ms = offset, seq, 0
        self._kinds = None if kinds is None else {kind.model_fields["type"].default.encode() for kind in kinds}
        self._partition = TopicPartition(EVENTS.name, 0)
        self._end_offset: int | None = None
        self.caught_up = asyncio.Event()

    @property
    def seq(self) -> int:
        """The last sequence handed out."""
        return self._seq

    async def batches(self) -> AsyncIterator[EventBatch]:
        """Yields batches for ever; sets `caught_up` once the end that the log had at the start is reached."""
        while True:
            consumer = await self._connect()
            try:
                async for batch in self._follow(consumer):
                    yield batch
            except OffsetOutOfRangeError as error:
                raise SequenceGap(f"{EVENTS.name} ends before offset {self._offset}, which was read from it") from error
            except (KafkaError, OSError) as error:
                structlog.get_logger().warning(
                    "event log interrupted, reading again", offset=self._offset, error=str(error)
                )
            finally:
                await stop_client(consumer)

    async def _connect(self) -> AIOKafkaConsumer:
        while True:
            consumer = AIOKafkaConsumer(
                **kafka_client_options(self._settings),
                enable_auto_commit=False,
                auto_offset_reset="none",  # a log that ends before this reader's place is no log to go on with
                fetch_max_wait_ms=FETCH_MAX_WAIT_MS,
                max_partition_fetch_bytes=4_194_304,
            )
            try:
                await start_reading(consumer, EVENTS.name)
                consumer.assign([self._partition])
                # At once: in the first await after `assign` aiokafka begins to look for a position of its own.
                consumer.seek(self._partition, self._offset)
                self._end_offset = (await consumer.end_offsets([self._partition]))[self._partition]
                self._check_caught_up()
                return consumer
            except (KafkaError, OSError) as error:
                await stop_client(consumer)
                structlog.get_logger().warning("waiting for Kafka", address=self._settings.kafka, error=str(error))
                await asyncio.sleep(self._settings.reconnect_delay_s)
            except asyncio.CancelledError:
                await stop_client(consumer)
                raise

    async def _follow(self, consumer: AIOKafkaConsumer) -> AsyncIterator[EventBatch]:
        loop, moved_at = asyncio.get_running_loop(), asyncio.get_running_loop().time()
        while True:
            fetched = await consumer.getmany(
                self._partition, timeout_ms=FETCH_TIMEOUT_MS, max_records=self._records_max
            )
            records = fetched.get(self._partition, ())
            if records:
                moved_at = loop.time()
                last_seq = self._seq
                batch = self._take(records)
                if batch.last_seq > last_seq:
                    yield batch
                self._check_caught_up()
                await asyncio.sleep(self._linger_s)
            elif loop.time() - moved_at > STALLED_AFTER_S:
                # aiokafka can hang after a broker restart, so silence is checked against the log's end.
                end = (await consumer.end_offsets([self._partition]))[self._partition]
                if end > self._offset:
                    return
                moved_at = loop.time()

    def _take(self, records) -> EventBatch:
        events, raws, last = [], [], None
        for record in records:
            header = HEADER.match(record.value)
            if header is None:
                raise BrokenEvent(f"{EVENTS.name} offset {record.offset}: {record.value[:80]!r}")
            seq = int(header[2])
            if seq > self._seq:
                if seq != self._seq + 1:
                    raise SequenceGap(f"{EVENTS.name} offset {record.offset}: seq {seq} after {self._seq}")
                if self._kinds is None or header[1] in self._kinds:
                    events.append(_read(record))
                    raws.append(record.value)
                self._seq, self._ts_ms, last = seq, int(header[3]), record.value
            self._offset = record.offset + 1
        last_sha256 = None if last is None else sha256(last).digest()
        return EventBatch(tuple(events), tuple(raws), self._seq, self._ts_ms, self._offset, last_sha256)

    def _check_caught_up(self) -> None:
        if self._end_offset is not None and self._offset >= self._end_offset:
            self.caught_up.set()


async def follow(
    reader: EventReader, handle: Callable[[EventBatch], Awaitable[object]], caught_up: Callable[[], None]
) -> None:
    """Hands each batch of the log to `handle`, for ever; calls `caught_up` once the end that the log had is reached."""
    watch = asyncio.create_task(_call_after(reader.caught_up, caught_up))
    try:
        async with aclosing(reader.batches()) as batches:
            async for batch in batches:
                await handle(batch)
    finally:
        watch.cancel()


async def _call_after(event: asyncio.Event, act: Callable[[], None]) -> None:
    await event.wait()
    act()


def seq_of(record: ConsumerRecord) -> int:
    """Returns the sequence number of an event's record. Raises BrokenEvent for other bytes."""
    found = HEADER.match(record.value or b"")
    if found is None:
        raise BrokenEvent(f"{EVENTS.name} offset {record.offset}: {record.value and record.value[:80]!r}")
    return int(found[2])


def _read(record) -> AnyEvent:
    try:
        return EVENT.validate_json(record.value)
    except ValidationError as error:
        raise BrokenEvent(f"{EVENTS.name} offset {record.offset}: {error}") from error
