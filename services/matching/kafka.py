"""Plain Kafka as the engine needs it: one partition read by assign and seek, waiting for the broker and its topics."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from services.kit.kafka import kafka_client_options
from services.kit.reading import start_reading
from services.kit.stopping import stop_client
from services.matching.settings import MatchingSettings

PARTITION_FETCH_BYTES_MAX = 4_194_304


async def open_consumer(settings: MatchingSettings, partition: TopicPartition, offset: int) -> AIOKafkaConsumer:
    """Return a consumer of the partition at `offset`; until broker and topic are there it says what it waits for."""
    while True:
        consumer = AIOKafkaConsumer(
            **kafka_client_options(settings),
            enable_auto_commit=False,
            auto_offset_reset="none",
            max_partition_fetch_bytes=PARTITION_FETCH_BYTES_MAX,
        )
        try:
            await start_reading(consumer, partition.topic)
            consumer.assign([partition])
            # At once: in the first await after `assign` aiokafka begins to look for a position of its own.
            consumer.seek(partition, offset)
            await consumer.end_offsets([partition])
            return consumer
        except (KafkaError, OSError) as error:
            await stop_client(consumer)
            structlog.get_logger().warning(
                "waiting for Kafka", address=settings.kafka, topic=partition.topic, error=repr(error)
            )
            await asyncio.sleep(settings.reconnect_delay_s)
        except asyncio.CancelledError:
            await stop_client(consumer)
            raise


class LogReader:
    """Reads one partition from an offset on, whole fetches at a time."""

    def __init__(self, settings: MatchingSettings, topic: str):
        self._settings = settings
        self._partition = TopicPartition(topic, 0)
        self._consumer: AIOKafkaConsumer | None = None
        self._ahead: Sequence = ()
        self._moved_at_s = 0.0
        self.next_offset = 0

    async def open(self) -> None:
        """Connects; until broker and topic are there it says what it waits for."""
        await self.close()
        self._ahead = ()
        self._consumer = await open_consumer(self._settings, self._partition, self.next_offset)
        self._moved_at_s = time.monotonic()

    def seek(self, offset: int) -> None:
        """Go on at `offset`."""
        self._consumer.seek(self._partition, offset)
        self._ahead = ()
        self.next_offset, self._moved_at_s = offset, time.monotonic()

    async def end(self) -> int:
        """Return the offset after the last record."""
        return (await self._consumer.end_offsets([self._partition]))[self._partition]

    async def fetch(self) -> Sequence:
        """Return the next records, or none within the time of one fetch."""
        records, self._ahead = self._ahead or await self._take(self._settings.fetch_wait_ms), ()
        if records:
            self.next_offset, self._moved_at_s = records[-1].offset + 1, time.monotonic()
        elif time.monotonic() - self._moved_at_s > self._settings.stalled_after_s:
            await self._look_whether_stalled()
        return records

    async def read_ahead(self) -> None:
        """Decode what has come meanwhile for the next fetch, which also meets whatever fails here."""
        if not self._ahead:
            with suppress(KafkaError, OSError):
                self._ahead = await self._take(0)

    async def close(self) -> None:
        """Stop reading."""
        if self._consumer is not None:
            await stop_client(self._consumer)
            self._consumer = None

    async def _take(self, wait_ms: int) -> Sequence:
        fetched = await self._consumer.getmany(
            self._partition, timeout_ms=wait_ms, max_records=self._settings.fetch_records_max
        )
        return fetched.get(self._partition, ())

    async def _look_whether_stalled(self) -> None:
        # aiokafka can hang after a broker restart, so silence is checked against the log's end.
        self._moved_at_s = time.monotonic()
        log = structlog.get_logger().bind(topic=self._partition.topic, next_offset=self.next_offset)
        try:
            end = await self.end()
        except (KafkaError, OSError) as error:
            log.warning("waiting for Kafka", error=repr(error))
            return
        if end > self.next_offset:
            log.warning("reader hangs, connecting again", end=end)
            await self.open()
