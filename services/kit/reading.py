"""A consumer that begins to read topics, and says at once where it may not."""

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError


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
