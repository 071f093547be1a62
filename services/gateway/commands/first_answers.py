"""First answers to requests under an idempotency key, on a topic from which a lost or older database has them again."""

from functools import partial

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from pydantic import ValidationError

from schemas.answers import FirstAnswer
from schemas.topics import GATEWAY_ANSWERS
from services.gateway.settings import GatewaySettings
from services.gateway.store import Store
from services.kit.ranges import read_range
from services.kit.reading import with_consumer
from services.kit.store import AWAY, DatabaseAway
from services.kit.topics import FOREIGN_RECORD

PARTITION = TopicPartition(GATEWAY_ANSWERS.name, 0)


async def restore_answers(settings: GatewaySettings, store: Store) -> None:
    """Take again what the topic has and the table may lack, waiting for Kafka and PostgreSQL while they are away."""
    away = (*AWAY, DatabaseAway)
    await with_consumer(settings, [PARTITION.topic], partial(_restore, store), "first answers wait", away)


async def _restore(store: Store, consumer: AIOKafkaConsumer) -> None:
    consumer.assign([PARTITION])
    first = (await consumer.beginning_offsets([PARTITION]))[PARTITION]
    end = (await consumer.end_offsets([PARTITION]))[PARTITION]
    start = max(first, await store.answers_taken())
    async for records, taken in read_range(consumer, PARTITION, start, end):
        answers = [found for record in records if (found := _answer_in(record.value)) is not None]
        await store.restore_answers(answers, taken)


def _answer_in(value: bytes) -> FirstAnswer | None:
    try:
        return FirstAnswer.model_validate_json(value)
    except ValidationError:
        structlog.get_logger().error("a foreign record is skipped", topic=PARTITION.topic, see=FOREIGN_RECORD)
        return None
