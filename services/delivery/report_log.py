"""Batches of reports on their way to `meter.reports`: one send a partition, in the order of their commits."""

import asyncio
from collections.abc import Sequence
from functools import lru_cache, partial

from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import DefaultPartitioner

from schemas.topics import METER_REPORTS
from services.kit.producer import start_producer
from services.kit.settings import Settings

NODES_KNOWN = 65_536
BATCH_BYTES_MAX = 1_000_000  # below what a broker takes at once by default


class ReportLog:
    """A producer that takes many records at once; one by one they would cost more than checking their signatures."""

    def __init__(self, producer: AIOKafkaProducer, partitions: Sequence[int]):
        self._producer = producer
        self._partition_of = lru_cache(NODES_KNOWN)(partial(_choose, partitions))

    @classmethod
    async def open(cls, settings: Settings) -> "ReportLog":
        """Connects, waiting for Kafka as long as it is away."""
        producer = await start_producer(settings, "edge-reports", max_batch_size=BATCH_BYTES_MAX)
        return cls(producer, sorted(await producer.partitions_for(METER_REPORTS.name)))

    @property
    def producer(self) -> AIOKafkaProducer:
        """The client to stop at the end."""
        return self._producer

    async def send(self, records: Sequence[tuple[str, bytes]]) -> list[asyncio.Future]:
        """Sends records, (node id, value), behind those of the calls before; returns what to await for the broker.

        Raises KafkaError where the broker is away for longer than the client waits.
        """
        sent, builders = [], {}
        for node_id, value in records:
            key = node_id.encode()
            partition = self._partition_of(key)
            if partition not in builders:
                builders[partition] = self._producer.create_batch()
            if builders[partition].append(timestamp=None, key=key, value=value) is None:
                sent.append(await self._send(builders[partition], partition))
                builders[partition] = self._producer.create_batch()
                builders[partition].append(timestamp=None, key=key, value=value)
        return sent + [await self._send(builder, partition) for partition, builder in builders.items()]

    async def _send(self, builder, partition: int) -> asyncio.Future:
        return await self._producer.send_batch(builder, METER_REPORTS.name, partition=partition)


def _choose(partitions: Sequence[int], key: bytes) -> int:
    return DefaultPartitioner()(key, partitions, ())
