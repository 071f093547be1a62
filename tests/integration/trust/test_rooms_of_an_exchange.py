"""A running exchange: nothing of its secrets is open to other users of the machine, and it tells all of them little."""

import json
import stat

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import ClusterAuthorizationFailedError, KafkaConnectionError, TopicAuthorizationFailedError

from infra import exchange as outside
from infra.database import role_of
from infra.exchange import RunningExchange, free_ports
from infra.kafka_clients import started
from infra.places import PRIVATE, close_to_others
from infra.plan import Servers, environment_of
from infra.settings import InfraSettings
from schemas.topics import KEYS_EVENTS, LISTINGS_EVENTS
from services.kit.kafka import MECHANISM


@pytest.fixture(scope="module")
def servers_only(servers_folder):
    """A supervisor that runs Kafka and PostgreSQL but no service."""
    ports = {**free_ports(), "HOURBOOK_SERVICES": "[]", "HOURBOOK_FRONT": "false"}
    with outside.running(servers_folder / "rooms-exchange", **ports) as running:
        yield running


def test_nobody_else_can_open_a_file_with_a_secret(servers_only: RunningExchange):
    keys = servers_only.data / "keys"
    open_to_others = {
        str(path.relative_to(keys))
        for path in [keys, *keys.rglob("*")]
        if stat.S_IMODE(path.stat().st_mode) & 0o077 and "public" not in path.relative_to(keys).parts
    }
    settings = servers_only.data / "kafka" / "server.properties"
    assert (open_to_others, stat.S_IMODE(settings.stat().st_mode)) == (set(), 0o600)


def test_another_user_of_the_machine_reads_no_file_of_the_exchange_but_what_tells_where_it_is(servers_only):
    data = servers_only.data
    shut = {path for path in data.iterdir() if path.is_dir() and not stat.S_IMODE(path.stat().st_mode) & 0o077}
    assert {path.name for path in data.iterdir()} - {path.name for path in shut} <= {"run", "log-identity"}
    told = {path.name for path in (data / "run").iterdir()}
    assert told == {"exchange.json", "supervisor.lock", "supervisor.pid", "kafka.pid", "postgres.pid"}


def test_a_folder_that_was_open_before_is_shut_at_the_next_start(tmp_path):
    for name in PRIVATE:
        (tmp_path / name).mkdir(mode=0o755)
    close_to_others(tmp_path)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys(PRIVATE, 0o700)


def test_a_service_is_told_no_password_and_its_own_names_alone(tmp_path):
    settings = InfraSettings(data=tmp_path, kafka_user="infra")
    servers = Servers("127.0.0.1:1", True, "postgresql://hourbook:secret@127.0.0.1:2/hourbook", ())
    told = environment_of("ledger", settings, servers)
    assert "secret" not in str(told)
    assert {name: told[name] for name in told if name != "HOURBOOK_TRUSTED_PROXIES"} == {
        "HOURBOOK_KAFKA": "127.0.0.1:1",
        "HOURBOOK_KAFKA_USER": "ledger",
        "HOURBOOK_DATABASE_URL": "postgresql://hourbook_ledger@127.0.0.1:2/hourbook",
        "HOURBOOK_DATA": str(tmp_path),
    }


async def test_the_login_that_the_exchange_tells_all_reads_what_names_no_account(servers_only: RunningExchange):
    public = json.loads((servers_only.data / "run" / "exchange.json").read_text())["public"]
    login = {
        "bootstrap_servers": public["kafka"],
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": MECHANISM,
        "sasl_plain_username": public["user"],
        "sasl_plain_password": public["password"],
    }
    async with started(AIOKafkaProducer(**servers_only.kafka_options())) as producer:
        await producer.send_and_wait(LISTINGS_EVENTS.name, b"{}", partition=0)
    partition = TopicPartition(LISTINGS_EVENTS.name, 0)
    async with started(AIOKafkaConsumer(**login, enable_auto_commit=False)) as consumer:
        consumer.assign([partition])
        consumer.seek(partition, 0)
        assert (await consumer.getone(partition)).value == b"{}"
        with pytest.raises(TopicAuthorizationFailedError):
            await consumer._client._wait_on_metadata(KEYS_EVENTS.name)
    with pytest.raises((ClusterAuthorizationFailedError, TopicAuthorizationFailedError)):
        async with started(AIOKafkaProducer(**login)) as producer:
            await producer.send_and_wait(LISTINGS_EVENTS.name, b"{}", partition=0)


async def test_a_stranger_on_the_machine_reaches_neither_server(servers_only: RunningExchange):
    with pytest.raises(KafkaConnectionError):
        kafka = servers_only.addresses["kafka"]
        async with started(AIOKafkaConsumer(bootstrap_servers=kafka, request_timeout_ms=3_000)):
            pass
    for login in ("hourbook", role_of("ledger")):
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(f"postgresql://{login}:guess@{servers_only.addresses['postgres']}")
