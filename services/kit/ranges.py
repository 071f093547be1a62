"""A stretch of a topic that is read once, from one offset to another."""

from collections.abc import AsyncIterator

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

RECORDS_PER_TURN = 1_000


async def read_range(
    consumer: AIOKafkaConsumer, partition: TopicPartition, start: int, end: int, records_max: int = RECORDS_PER_TURN
) -> AsyncIterator[tuple[list[ConsumerRecord], int]]:
    """Yields the records of an assigned partition from one offset to another, and where each batch ends."""
    consumer.seek(partition, start)
    while start < end:
        found = await consumer.getmany(partition, timeout_ms=500, max_records=records_max)
        records = [record for record in found.get(partition, ()) if record.offset < end]
        if records:
            start = records[-1].offset + 1
            yield records, start
        else:  # offsets without a record are passed
            start = max(start, await consumer.position(partition))
