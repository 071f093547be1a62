"""The embedded broker: what we rely on, seen on the real thing."""

import asyncio

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from infra.topics import create_topics
from schemas.topics import COMMANDS, TOPICS


async def produce(bootstrap: str, topic: str, values: list[bytes]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True, acks="all")
    await producer.start()
    for value in values:
        await producer.send_and_wait(topic, value)
    await producer.stop()


async def read_all(bootstrap: str, topic: str, count: int) -> list[bytes]:
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        return [(await asyncio.wait_for(consumer.getone(), 10)).value for _ in range(count)]
    finally:
        await consumer.stop()


async def test_a_record_comes_back_from_a_fresh_topic(kafka_bootstrap, fresh_topics):
    [topic] = await fresh_topics(COMMANDS)
    await produce(kafka_bootstrap, topic, [b"one", b"two"])
    assert await read_all(kafka_bootstrap, topic, 2) == [b"one", b"two"]


async def test_what_the_broker_acknowledged_is_there_after_it_was_killed(own_kafka):
    await produce(own_kafka.address, COMMANDS.name, [b"before"])
    own_kafka.kill()
    own_kafka.start()
    await produce(own_kafka.address, COMMANDS.name, [b"after"])
    assert await read_all(own_kafka.address, COMMANDS.name, 2) == [b"before", b"after"]


async def test_topics_are_created_once_with_the_registrys_settings(own_kafka):
    assert await create_topics(own_kafka.address) == [topic.name for topic in TOPICS]
    admin = AIOKafkaAdminClient(bootstrap_servers=own_kafka.address)
    await admin.start()
    described = {row["topic"]: len(row["partitions"]) for row in await admin.describe_topics()}
    [answer] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, COMMANDS.name)])
    await admin.close()
    assert described == {topic.name: topic.partitions for topic in TOPICS}
    settings = {entry[0]: entry[1] for entry in answer.resources[0][4]}
    wanted = {"retention.ms": "-1", **dict(COMMANDS.config)}
    assert {name: settings[name] for name in wanted} == wanted
