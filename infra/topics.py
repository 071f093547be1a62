"""Creates the registry's topics on a broker; a topic that is there already is left as it is."""

from collections.abc import Iterable
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from schemas.topics import TOPICS, Topic


class TopicNotCreated(RuntimeError):
    """The broker refused a topic; the message is the broker's reason."""


async def create_topics(bootstrap: str, topics: Iterable[Topic] = TOPICS, prefix: str = "", **login: Any) -> list[str]:
    """Create the topics that are missing and answer their names; `prefix` goes before each name."""
    wanted = [new_topic(topic, prefix) for topic in topics]
    admin = AIOKafkaAdminClient(**{"bootstrap_servers": bootstrap} | login)
    await admin.start()
    try:
        answer = await admin.create_topics(wanted)
    finally:
        await admin.close()
    for name, code, *reason in answer.topic_errors:  # the client raises nothing itself
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:
            raise TopicNotCreated(f"{name}: {error.__name__}: {' '.join(map(str, reason))}")
    return [topic.name for topic in wanted]


def new_topic(topic: Topic, prefix: str = "") -> NewTopic:
    return NewTopic(
        name=prefix + topic.name,
        num_partitions=topic.partitions,
        replication_factor=1,
        topic_configs={"retention.ms": str(topic.retention_ms), **dict(topic.config)},
    )
