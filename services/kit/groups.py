"""Records of a topic that a consumer group has taken and the database has not: it was put back from an older copy."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from pydantic import TypeAdapter, ValidationError

from schemas.topics import Topic
from services.kit import store
from services.kit.kafka import kafka_client_options
from services.kit.settings import Settings
from services.kit.stopping import stop_client

RECORDS_PER_TURN = 1_000
Handle = Callable[[list[Any], dict[int, int]], Awaitable[None]]


async def take_again(
    settings: Settings, pool: store.Pool, topic: Topic, group: str, model: TypeAdapter, handle: Handle
) -> None:
    """Hands the group's `handle` what lies between this database's place in the topic and the group's own.

    Comes before `subscribe_batches` of the same group. Waits for Kafka and PostgreSQL as long as they are away.
    """
    while True:
        consumer = AIOKafkaConsumer(
            **kafka_client_options(settings), group_id=f"{group}.{topic.name}", enable_auto_commit=False
        )
        try:
            await consumer.start()
            await _take_again(consumer, topic, await store.taken(pool, topic.name), model, handle)
            return
        except (*store.AWAY, KafkaError, store.DatabaseAway) as error:
            log = structlog.get_logger()
            log.warning("cannot look yet whether anything is to be taken again", topic=topic.name, error=repr(error))
            await asyncio.sleep(settings.reconnect_delay_s)
        finally:
            await stop_client(consumer)


async def _take_again(
    consumer: AIOKafkaConsumer, topic: Topic, marks: dict[int, int], model: TypeAdapter, handle: Handle
) -> None:
    for number in range(topic.partitions):
        partition = TopicPartition(topic.name, number)
        consumer.assign([partition])
        last = (await consumer.end_offsets([partition]))[partition]
        start, end = marks.get(number, 0), min(await consumer.committed(partition) or 0, last)
        if start >= end:
            continue
        log = structlog.get_logger()
        log.warning("records are taken again", topic=topic.name, partition=number, offset=start, until=end)
        async for values, taken in _batches(consumer, partition, start, end):
            await handle([record for value in values if (record := _record_of(model, value))], {number: taken})


async def _batches(
    consumer: AIOKafkaConsumer, partition: TopicPartition, start: int, end: int
) -> AsyncIterator[tuple[list[bytes], int]]:
    consumer.seek(partition, start)
    while start < end:
        found = await consumer.getmany(partition, timeout_ms=500, max_records=RECORDS_PER_TURN)
        records = [record for record in found.get(partition, ()) if record.offset < end]
        if records:
            start = records[-1].offset + 1
            yield [record.value for record in records], start


def _record_of(model: TypeAdapter, value: bytes) -> Any:
    """Reads a record; a broken one is among the dead letters since it was read first."""
    try:
        return model.validate_json(value)
    except ValidationError:
        return None
