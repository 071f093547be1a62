"""Kafka's logins and rights: a broken service writes and reads what the registry says, a local stranger nothing."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    TopicAuthorizationFailedError,
    for_code,
)
from aiokafka.protocol.admin import CreateAclsRequest

from infra import kafka, processes
from infra.embedded import Running
from infra.kafka_access import PUBLIC, USERS, secure_broker
from infra.kafka_clients import started
from infra.kafka_protocol import AlterScramCredentials
from infra.keys import INFRA, make_password
from infra.ports import distinct_ports
from infra.topics import create_topics
from schemas.topics import DELIVERY_EVENTS, KEYS_EVENTS, METER_REPORTS, TOPICS, Topic
from services.kit.kafka import login_options
from services.kit.reading import MayNotRead, start_reading
from services.kit.stopping import stop_client

ANSWER_WITHIN_S = 20.0
SAID_WITHIN_S = 10.0


@dataclass(frozen=True)
class Room:
    """A broker that asks for logins, with every topic, each with one record."""

    server: Running
    controller_port: int
    keys: Path

    def options(self, user: str) -> dict:
        return login_options(self.server.address, self.keys, user)


@pytest.fixture(scope="module")
def room(servers_folder) -> Iterator[Room]:
    folder = servers_folder / "guarded"
    keys = folder / "keys"
    password = make_password(keys, INFRA, "kafka")
    plan = kafka.KafkaPlan(folder / "kafka", folder / "kafka.log", *distinct_ports(2), password)
    server = Running(kafka.prepare(plan), plan.bootstrap)
    room = Room(server, plan.controller_port, keys)
    asyncio.run(furnish(room))
    yield room
    server.stop()


async def furnish(room: Room) -> None:
    await secure_broker(room.server.address, room.keys)
    await create_topics(room.server.address, **room.options(INFRA))
    async with started(AIOKafkaProducer(**room.options(INFRA))) as producer:
        for topic in TOPICS:
            await producer.send_and_wait(topic.name, b"{}", partition=0)


async def try_to_write(room: Room, user: str, topic: Topic) -> str:
    """As every service writes; who may write no topic at all is refused when the producer starts."""
    producer = AIOKafkaProducer(**room.options(user), enable_idempotence=True, acks="all")
    try:
        async with started(producer):
            await producer.send_and_wait(topic.name, b"{}", partition=0)
    except (TopicAuthorizationFailedError, ClusterAuthorizationFailedError):
        return "refused"
    return "done"


async def try_to_read(room: Room, user: str, topic: Topic) -> str:
    partition = TopicPartition(topic.name, 0)
    async with started(AIOKafkaConsumer(**room.options(user), enable_auto_commit=False)) as consumer:
        try:
            await consumer._client._wait_on_metadata(topic.name)  # what else asks tries again for 40 s
            consumer.assign([partition])
            consumer.seek(partition, 0)
            found = await consumer.getmany(partition, timeout_ms=10_000, max_records=1)
        except TopicAuthorizationFailedError:
            return "refused"
        return "done" if found else "nothing"


async def test_every_user_writes_and_reads_what_the_registry_says_and_nothing_else(room):
    users = [user for user in USERS if user != INFRA]
    done, wanted = {}, {}
    for user in users:
        tries = [(kind, topic) for topic in TOPICS for kind in ("write", "read")]
        async with asyncio.timeout(ANSWER_WITHIN_S * 3):
            answers = await asyncio.gather(
                *(({"write": try_to_write, "read": try_to_read}[kind])(room, user, topic) for kind, topic in tries)
            )
        for (kind, topic), answer in zip(tries, answers, strict=True):
            may = user in (topic.writers if kind == "write" else topic.readers) or (user == PUBLIC and topic.public)
            done[user, kind, topic.name] = answer
            wanted[user, kind, topic.name] = "done" if may and not (user == PUBLIC and kind == "write") else "refused"
    assert done == wanted


async def test_a_service_joins_groups_of_its_own_name_alone(room):
    async def join(user: str, group: str) -> str:
        consumer = AIOKafkaConsumer(METER_REPORTS.name, group_id=group, **room.options(user))
        try:
            async with started(consumer):
                await consumer.getmany(timeout_ms=500)
        except GroupAuthorizationFailedError:
            return "refused"
        return "done"

    groups = ("delivery.meter.reports", "listings.delivery.events", "delivery")
    async with asyncio.timeout(ANSWER_WITHIN_S):
        found = {group: await join("delivery", group) for group in groups}
    assert found == dict(zip(groups, ("done", "refused", "refused"), strict=True))


async def test_a_service_changes_neither_topics_nor_rights_nor_passwords(room):
    admin = AIOKafkaAdminClient(**room.options("gateway"))
    await admin.start()
    try:
        made = await admin.create_topics([NewTopic("mine", 1, 1)])
        dropped = await admin.delete_topics([KEYS_EVENTS.name, DELIVERY_EVENTS.name])
        right = CreateAclsRequest(2, "events.0", 3, "User:gateway", "*", 4, 3)
        granted = await admin._send_to_controller(right)
        password = AlterScramCredentials([("ledger", 1, 4096, b"salt" * 4, b"p" * 32, {})])
        set_by_gateway = await admin._send_to_controller(password)
    finally:
        await admin.close()
    codes = [
        *(code for _, code, *_ in made.topic_errors),
        *(code for _, code, *_ in dropped.topic_error_codes),
        *(code for code, *_ in granted.creation_responses),
        *(code for _, code, *_ in set_by_gateway.results),
    ]
    assert [for_code(code).__name__ for code in codes] == [
        "TopicAuthorizationFailedError",
        "TopicAuthorizationFailedError",
        "TopicAuthorizationFailedError",
        "ClusterAuthorizationFailedError",
        "ClusterAuthorizationFailedError",
    ]


async def test_a_local_stranger_is_let_in_nowhere(room):
    with_login = room.options("gateway")
    guess = {**with_login, "sasl_plain_password": "guess"}
    foreign = {**with_login, "sasl_plain_username": "ledger"}
    by_plain = {**with_login, "sasl_mechanism": "PLAIN"}
    controller = {"bootstrap_servers": f"127.0.0.1:{room.controller_port}"}
    nobody = {"bootstrap_servers": room.server.address}
    for options in (nobody, guess, foreign, by_plain, controller, {**with_login, **controller}):
        with pytest.raises(KafkaConnectionError):
            async with (
                asyncio.timeout(ANSWER_WITHIN_S),
                started(AIOKafkaConsumer(**options, request_timeout_ms=3_000)),
            ):
                pass


async def test_an_open_broker_as_older_builds_had_it_lets_a_stranger_write_keys(own_kafka):
    async with started(AIOKafkaProducer(bootstrap_servers=own_kafka.address)) as producer:
        assert (await producer.send_and_wait(KEYS_EVENTS.name, b"{}", partition=0)).offset == 0


async def test_rights_that_the_registry_no_longer_gives_are_taken_away_at_the_next_start(room, monkeypatch):
    monkeypatch.setattr("infra.kafka_access.rights_of", lambda: set())
    await secure_broker(room.server.address, room.keys)
    assert await try_to_write(room, "gateway", KEYS_EVENTS) == "refused"
    monkeypatch.undo()
    await secure_broker(room.server.address, room.keys)
    assert await try_to_write(room, "gateway", KEYS_EVENTS) == "done"


def test_a_guarded_broker_comes_back_after_a_kill(room):
    room.server.kill()
    room.server.start()
    assert kafka.answers(int(room.server.address.rpartition(":")[2]))
    assert processes.end_of(room.server.program.log)


async def test_a_reader_without_the_right_says_so_at_once_and_names_the_topic(room: Room):
    found = {}
    for user in ("gateway", "delivery"):
        consumer = AIOKafkaConsumer(**room.options(user), enable_auto_commit=False)
        try:
            async with asyncio.timeout(SAID_WITHIN_S):
                await start_reading(consumer, KEYS_EVENTS.name, METER_REPORTS.name)
            found[user] = "reads"
        except MayNotRead as error:
            found[user] = str(error)
        finally:
            await stop_client(consumer)
    assert found["delivery"] == "reads"
    assert f"no right to read {METER_REPORTS.name}, or" in found["gateway"]
