"""Records of a topic that a consumer group has taken and the database has not: it was put back from an older copy."""

from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from pydantic import TypeAdapter, ValidationError

from schemas.topics import Topic
from services.kit import store
from services.kit.ranges import read_range
from services.kit.reading import with_consumer
from services.kit.settings import Settings

Handle = Callable[[list[Any], dict[int, int]], Awaitable[None]]


async def take_again(
    settings: Settings, pool: store.Pool, topic: Topic, group: str, model: TypeAdapter, handle: Handle
) -> None:
    """Hands the group's `handle` what lies between this database's place in the topic and the group's own.

    Comes before `subscribe_batches` of the same group. Waits for Kafka and PostgreSQL as long as they are away.
    """

    async def take(consumer: AIOKafkaConsumer) -> None:
        await _take_again(consumer, topic, await store.taken(pool, topic.name), model, handle)

    away = (*store.AWAY, store.DatabaseAway)
    waiting = "cannot look yet whether anything is to be taken again"
    await with_consumer(settings, [topic.name], take, waiting, away, group_id=f"{group}.{topic.name}")


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
        async for records, taken in read_range(consumer, partition, start, end):
            found = [value for record in records if (value := _value_of(model, record))]
            await handle(found, {number: taken})


def _value_of(model: TypeAdapter, record: ConsumerRecord) -> Any:
    """Reads a record; a broken one is among the dead letters since it was read first."""
    try:
        return model.validate_json(record.value)
    except ValidationError:
        return None
