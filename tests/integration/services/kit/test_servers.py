"""`/readyz` knows within a second or two that a server is away, and that it is back."""

import os
import signal
import time

import pytest

from services.kit.readiness import Readiness
from services.kit.servers import Servers
from services.kit.settings import Settings


@pytest.fixture
def settings(own_kafka, own_postgres, tmp_path) -> Settings:
    return Settings(kafka=own_kafka.address, database_url=own_postgres.address, data=tmp_path, servers_known_for_s=0.1)


async def wait_until(readiness: Readiness, expected: list[str]) -> None:
    deadline = time.monotonic() + 5
    while (found := await readiness.all_waiting()) != expected:
        assert time.monotonic() < deadline, found


async def test_a_server_that_stands_still_or_is_dead_is_named_until_it_answers_again(settings, own_kafka, own_postgres):
    readiness = Readiness("PostgreSQL", servers=Servers(settings))
    assert await readiness.all_waiting() == ["PostgreSQL"]
    readiness.done("PostgreSQL")
    await wait_until(readiness, [])
    for server, name in ((own_kafka, "Kafka"), (own_postgres, "PostgreSQL")):
        os.kill(server.process.pid, signal.SIGSTOP)
        await wait_until(readiness, [name])
        os.kill(server.process.pid, signal.SIGCONT)
        await wait_until(readiness, [])
    own_postgres.kill()
    await wait_until(readiness, ["PostgreSQL"])
    own_postgres.start()
    await wait_until(readiness, [])


async def test_a_disk_that_is_full_is_named(settings):
    full = settings.model_copy(update={"disk_free_bytes_min": 1 << 60})
    await wait_until(Readiness(servers=Servers(full)), ["space on the disk"])


async def test_a_service_that_can_do_without_a_server_asks_only_for_those_that_it_is_told_of():
    assert await Servers(Settings(), named_only=True).away() == []
    assert await Servers(Settings(kafka="127.0.0.1:9"), named_only=True).away() == ["Kafka"]
