"""The engine's events on their way into the log: in order, nothing missing, whatever becomes of producer and broker."""

import asyncio
from collections import deque
from collections.abc import Sequence

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from services.kit.producer import start_producer
from services.kit.stopping import stop_client
from services.matching import domain
from services.matching.event_tail import EventTail
from services.matching.settings import MatchingSettings


class EventWriter:
    """Queues events in sequence and sends them in whole batches, one at a time.

    A second batch on its way could be taken by the broker after the first one failed, and leave a hole. After an
    unknown outcome the writer starts a new producer, reads what the log has, and sends the rest again.
    """

    def __init__(self, settings: MatchingSettings, topic: str, seq: int):
        self._settings, self._topic = settings, topic
        self._queued: deque[bytes] = deque()
        self._next: list[bytes] = []
        self._in_flight: list[bytes] = []
        self._producer: AIOKafkaProducer | None = None
        self._filled, self._acknowledged = asyncio.Event(), asyncio.Event()
        self.acknowledged_seq = seq

    @property
    def waiting(self) -> int:
        """How many events are not acknowledged yet."""
        return len(self._queued) + len(self._next) + len(self._in_flight)

    def skip_to(self, seq: int) -> None:
        """Take note that the log holds everything up to `seq` already; nothing may be queued."""
        self.acknowledged_seq = seq

    async def write(self, events: Sequence[bytes]) -> None:
        """Queue events; wait while too many are on their way."""
        self._queued.extend(events)
        self._filled.set()
        await self._until_at_most(self._settings.events_waiting_max)

    async def flush(self) -> None:
        """Return when everything queued is in the log."""
        await self._until_at_most(0)

    async def run(self) -> None:
        """Send for ever."""
        self._producer = await self._start_producer()
        outcome_known = True
        try:
            while True:
                try:
                    if not outcome_known:
                        await self._recover()
                        outcome_known = True
                    await self._send_queued()
                except (KafkaError, OSError) as error:
                    structlog.get_logger().warning("events not acknowledged, will read the log", error=repr(error))
                    outcome_known = False
                    await asyncio.sleep(self._settings.reconnect_delay_s)
        finally:
            await stop_client(self._producer)

    async def _start_producer(self) -> AIOKafkaProducer:
        return await start_producer(self._settings, "matching-events", max_batch_size=self._settings.send_batch_bytes)

    async def _send_queued(self) -> None:
        delivery = None
        while True:
            self._filled.clear()
            builder = self._fill_batch()
            if delivery is not None:
                await delivery
                self._forget(self._in_flight)
            self._in_flight, self._next, delivery = self._next, [], None
            if self._in_flight:
                delivery = await self._producer.send_batch(builder, self._topic, partition=0)
            else:
                await self._filled.wait()

    def _fill_batch(self):
        # The next batch is encoded while the one before it is on its way.
        builder, events, queued = self._producer.create_batch(), self._next, self._queued
        append = builder.append
        while queued and append(key=None, value=queued[0], timestamp=None) is not None:
            events.append(queued.popleft())
        builder.close()
        return builder

    async def _until_at_most(self, count: int) -> None:
        while self.waiting > count:
            self._acknowledged.clear()
            await self._acknowledged.wait()

    def _forget(self, events: list[bytes]) -> None:
        self.acknowledged_seq += len(events)
        self._in_flight = []
        self._acknowledged.set()

    async def _recover(self) -> None:
        await stop_client(self._producer)
        self._producer = await self._start_producer()
        tail = await EventTail.open(self._settings, self._topic, self.acknowledged_seq)
        try:
            logged = await tail.take(self.waiting)
        finally:
            await tail.close()
        unknown = [*self._in_flight, *self._next, *self._queued]
        domain.check_same(unknown[: len(logged)], logged)
        self._next, self._queued = [], deque(unknown[len(logged) :])
        self._forget(logged)
        structlog.get_logger().info("events go on", acknowledged_seq=self.acknowledged_seq)
