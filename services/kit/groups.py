"""Records of a topic that a consumer group has taken and the database has not: it was put back from an older copy."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError
from pydantic import TypeAdapter, ValidationError

from schemas.topics import Topic
from services.kit import store
from services.kit.kafka import kafka_client_options
from services.kit.ranges import read_range
from services.kit.reading import start_reading
from services.kit.settings import Settings
from services.kit.stopping import stop_client

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
            await start_reading(consumer, topic.name)
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
        async for records, taken in read_range(consumer, partition, start, end):
            found = [value for record in records if (value := _value_of(model, record))]
            await handle(found, {number: taken})


def _value_of(model: TypeAdapter, record: ConsumerRecord) -> Any:
    """Reads a record; a broken one is among the dead letters since it was read first."""
    try:
        return model.validate_json(record.value)
    except ValidationError:
        return None
