"""A consumer that begins to read topics, says at once where it may not, and waits while Kafka is away."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from services.kit.kafka import kafka_client_options
from services.kit.settings import Settings
from services.kit.stopping import stop_client

Answer = TypeVar("Answer")


class MayNotRead(KafkaError):
    """The login has no right to read a topic, or the topic is not there: Kafka shows nobody the difference."""


async def start_reading(consumer: AIOKafkaConsumer, *topics: str) -> None:
    """Starts a consumer. Raises MayNotRead where its login does not see one of the topics.

    aiokafka would look for such a topic for 40 s, again and again, and call it waiting.
    """
    await consumer.start()
    hidden = sorted(set(topics) - await consumer.topics())
    if hidden:
        raise MayNotRead(
            f"this login has no right to read {', '.join(hidden)}, or there is no such topic: "
            "schemas/topics.py says who reads what, and `hourbook up` gives the rights"
        )


async def with_consumer(
    settings: Settings,
    topics: Sequence[str],
    read: Callable[[AIOKafkaConsumer], Awaitable[Answer]],
    waiting: str,
    away: tuple[type[Exception], ...] = (OSError,),
    **options: Any,
) -> Answer:
    """Returns what `read` makes of a consumer of these topics, which it is to assign itself.

    Where Kafka is away, or `read` raises one of `away`, the log says `waiting`, and it is tried again from the start.
    `options` are the consumer's.
    """
    while True:
        consumer = AIOKafkaConsumer(**kafka_client_options(settings), enable_auto_commit=False, **options)
        try:
            await start_reading(consumer, *topics)
            return await read(consumer)
        except (KafkaError, *away) as error:
            log = structlog.get_logger()
            log.warning(waiting, address=settings.kafka, topics=list(topics), error=repr(error))
            await asyncio.sleep(settings.reconnect_delay_s)
        finally:
            await stop_client(consumer)
