"""The log's time for a service that must act when nothing happens: the broker's stamp on the command log's last record.

The matching process appends a tick every 250 ms, so the stamp moves on while it runs, and stands still with it.
"""

import asyncio

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from schemas.topics import COMMANDS
from services.kit.kafka import kafka_client_options
from services.kit.reading import start_reading
from services.kit.settings import Settings
from services.kit.stopping import stop_client

TAIL_BYTES = 4_096
FETCH_TIMEOUT_MS = 500


class LogClock:
    """Shows the log's time in milliseconds; it never goes back. 0 until it is known."""

    def __init__(self, settings: Settings, interval_s: float = 0.5):
        self._settings, self._interval_s = settings, interval_s
        self._log = TopicPartition(COMMANDS.name, 0)
        self.now_ms = 0
        self.known = asyncio.Event()

    def note(self, ts_ms: int) -> None:
        """Takes a time stamp of the log, from wherever it was seen."""
        self.now_ms = max(self.now_ms, ts_ms)
        if self.now_ms:
            self.known.set()

    async def run(self) -> None:
        """Follows the end of the command log for ever."""
        while True:
            consumer = AIOKafkaConsumer(
                **kafka_client_options(self._settings),
                enable_auto_commit=False,
                max_partition_fetch_bytes=TAIL_BYTES,
            )
            try:
                await start_reading(consumer, self._log.topic)
                consumer.assign([self._log])
                while True:
                    await self._look(consumer)
                    await asyncio.sleep(self._interval_s)
            except (KafkaError, OSError) as error:
                structlog.get_logger().warning("the log's time waits for Kafka", error=str(error))
                await asyncio.sleep(self._settings.reconnect_delay_s)
            finally:
                await stop_client(consumer)

    async def _look(self, consumer: AIOKafkaConsumer) -> None:
        end = (await consumer.end_offsets([self._log]))[self._log]
        if not end:
            return
        consumer.seek(self._log, end - 1)
        fetched = await consumer.getmany(self._log, timeout_ms=FETCH_TIMEOUT_MS, max_records=1)
        for record in fetched.get(self._log, ()):
            self.note(record.timestamp)
