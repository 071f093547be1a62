"""FastStream subscribers with our delivery rule: batches, acknowledged after the effects, broken records to a dead-
letter topic.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from aiokafka import ConsumerRecord
from aiokafka.errors import KafkaError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage
from pydantic import TypeAdapter, ValidationError

from schemas.topics import Topic
from services.kit.kafka import faststream_security
from services.kit.settings import FETCH_MAX_WAIT_MS, Settings

BATCH_TIMEOUT_MS = 1_000  # how long a reader sleeps when nothing comes; what comes wakes it at once
SESSION_TIMEOUT_MS = 6_000  # how long a killed member keeps its partitions; the least that a broker allows by default
RECONNECT_DELAY_S = 0.5
FOREIGN_RECORD = "docs/runbooks/foreign-record.md"


def make_broker(settings: Settings) -> KafkaBroker:
    """Returns the broker of a service; topics are made by infra, never by a client."""
    return KafkaBroker(
        settings.kafka,
        security=faststream_security(settings),
        enable_idempotence=True,
        acks="all",
        logger=None,
        apply_types=False,
    )


def subscribe_batches(
    broker: KafkaBroker,
    topic: Topic,
    group: str,
    model: TypeAdapter,
    handle: Callable[..., Awaitable[None]],
    records_max: int = 1_000,
    with_ends: bool = False,
    read: Callable[[bytes], Any] | None = None,
) -> None:
    """Calls `handle` with each batch of valid messages of `topic`; offsets move only after it returned, so messages
    may come twice.

    A record that is no message of the model goes to the topic's dead-letter topic with its reason, or into the log
    where there is none, and the partition goes on. `with_ends`: `handle` also gets where each partition goes on behind
    the batch. `read` takes the place of the model's own reading; it raises ValidationError where the model would.
    """
    read = read or model.validate_json

    @broker.subscriber(
        topic.name,
        group_id=f"{group}.{topic.name}",  # a group of its own: two members of one group delay each other's start
        session_timeout_ms=SESSION_TIMEOUT_MS,
        heartbeat_interval_ms=SESSION_TIMEOUT_MS // 3,
        batch=True,
        auto_offset_reset="earliest",
        ack_policy=AckPolicy.NACK_ON_ERROR,
        max_records=records_max,
        batch_timeout_ms=BATCH_TIMEOUT_MS,
        fetch_max_wait_ms=FETCH_MAX_WAIT_MS,
        decoder=_leave_undecoded,
    )
    async def consume(records: tuple[ConsumerRecord, ...]) -> None:
        valid = []
        for record in records:
            try:
                valid.append(read(record.value))
            except ValidationError as error:
                await _dead_letter(broker, topic, record, str(error))
        if valid:
            ends = {record.partition: record.offset + 1 for record in records}
            await (handle(valid, ends) if with_ends else handle(valid))


async def _leave_undecoded(message: KafkaMessage) -> tuple[ConsumerRecord, ...]:
    """Hands on the records as they came: FastStream's own decoder would wrap and parse each of them for nothing."""
    return message.raw_message


async def _dead_letter(broker: KafkaBroker, topic: Topic, record, reason: str) -> None:
    log = structlog.get_logger().bind(topic=topic.name, offset=record.offset, reason=reason)
    if topic.dead is None:
        log.error("a foreign record is skipped", value=repr(record.value)[:200], see=FOREIGN_RECORD)
        return
    log.warning("record to the dead letters")
    headers = {
        "reason": reason[:1_000],
        "topic": topic.name,
        "partition": str(record.partition),
        "offset": str(record.offset),
    }
    await broker.publish(record.value or b"", topic=topic.dead, key=record.key, headers=headers)


async def run_broker(broker: KafkaBroker) -> None:
    """Consumes until cancelled; waits for Kafka when it is not there yet."""
    while True:
        try:
            await broker.start()
            break
        except (KafkaError, OSError) as error:
            structlog.get_logger().warning("waiting for Kafka", error=str(error))
            await broker.stop()
            await asyncio.sleep(RECONNECT_DELAY_S)
    try:
        await asyncio.Event().wait()
    finally:
        await broker.stop()
