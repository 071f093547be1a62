"""The supervisor on real servers: it comes up, brings back what is killed, goes on after its own death, and stops."""

import json
import os
import socket
import subprocess
import sys
import time
from typing import Any

import asyncpg
import psutil
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from infra import exchange as outside
from infra.exchange import RunningExchange, free_ports
from infra.places import REPOSITORY
from infra.processes import DidNotStart
from schemas.commands import read_command
from schemas.topics import COMMANDS

SERVERS_ONLY = {"HOURBOOK_SERVICES": "[]"}


@pytest.fixture
def servers_only(servers_folder, request):
    """A supervisor that runs Kafka and PostgreSQL but no service."""
    data = servers_folder / request.node.name[:40]
    with outside.running(data, **free_ports(), **SERVERS_ONLY) as started:
        yield started


async def command_log(kafka: dict[str, Any]) -> list[bytes]:
    """Every record of the command log."""
    partition = TopicPartition(COMMANDS.name, 0)
    consumer = AIOKafkaConsumer(**kafka)
    await consumer.start()
    try:
        consumer.assign([partition])
        end = (await consumer.end_offsets([partition]))[partition]
        consumer.seek(partition, 0)
        return [(await consumer.getone()).value for _ in range(end)]
    finally:
        await consumer.stop()


def wait_for(condition, within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.05)


def hourbook(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "console", *arguments],
        env={**os.environ, **environment},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.slow
async def test_a_killed_supervisor_starts_again_on_the_same_log_with_one_genesis(servers_only: RunningExchange):
    before = await command_log(servers_only.kafka_options())
    assert [read_command(record).type for record in before] == ["genesis"]
    left = {name: servers_only.pid_of(name) for name in ("kafka", "postgres")}
    servers_only.kill()
    assert all(psutil.pid_exists(pid) for pid in left.values())
    servers_only.start()
    assert not any(pid in left.values() for pid in map(servers_only.pid_of, left))
    assert await command_log(servers_only.kafka_options()) == before


@pytest.mark.slow
@pytest.mark.parametrize("program", ["kafka", "postgres"])
async def test_a_killed_server_comes_back_on_its_address(servers_only: RunningExchange, program):
    killed = servers_only.kill_program(program)
    wait_for(lambda: servers_only.pid_of(program) not in (None, killed))
    servers_only.wait_ready()
    if program == "kafka":
        assert len(await command_log(servers_only.kafka_options())) == 1
    else:
        password = (servers_only.data / "keys" / "infra" / "postgres.password").read_text().strip()
        url = f"postgresql://hourbook:{password}@{servers_only.addresses['postgres']}"
        connection = await asyncpg.connect(url)
        assert await connection.fetchval("select 1") == 1
        await connection.close()


def test_status_and_down_tell_and_end_what_runs(servers_only: RunningExchange):
    data = str(servers_only.data)
    up = hourbook("status", "--json", HOURBOOK_DATA=data)
    shown = json.loads(up.stdout)
    running = {row["program"] for row in shown["programs"] if row["state"] == "runs"}
    assert (up.returncode, shown["up"], running) == (0, True, {"kafka", "postgres"})
    pids = [row["pid"] for row in shown["programs"] if row["pid"]]
    assert json.loads(hourbook("down", "--json", HOURBOOK_DATA=data).stdout) == {"stopped": True}
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert hourbook("status", HOURBOOK_DATA=data).returncode == 3
    assert json.loads(hourbook("down", "--json", HOURBOOK_DATA=data).stdout) == {"stopped": False}
    assert hourbook("logs", "kafka", "--lines", "1", HOURBOOK_DATA=data).stdout.count("\n") == 1
    assert hourbook("reset", "--yes", HOURBOOK_DATA=data).returncode == 0
    assert not servers_only.data.exists()


@pytest.mark.slow
def test_a_second_up_on_the_same_folder_is_refused_and_changes_nothing(servers_only: RunningExchange):
    environment = {"HOURBOOK_DATA": str(servers_only.data), **SERVERS_ONLY}
    second = hourbook("up", **environment)
    assert second.returncode == 1
    assert second.stderr == f"hourbook: the exchange in {servers_only.data} is already up; `hourbook down` stops it\n"
    assert outside.addresses(servers_only.data) == servers_only.addresses


def test_a_taken_port_is_named_before_anything_is_started(servers_folder):
    ports = free_ports()
    with socket.socket() as other:
        other.bind(("127.0.0.1", int(ports["HOURBOOK_KAFKA_PORT"])))
        other.listen()
        refused = hourbook("up", HOURBOOK_DATA=str(servers_folder / "taken"), **ports, **SERVERS_ONLY)
    port = ports["HOURBOOK_KAFKA_PORT"]
    assert (refused.returncode, refused.stderr) == (
        1,
        f"hourbook: port {port} on 127.0.0.1, wanted by kafka, is taken; HOURBOOK_KAFKA_PORT chooses another\n",
    )


def test_a_configured_server_that_does_not_answer_is_named(servers_folder):
    configured = {"HOURBOOK_KAFKA": "127.0.0.1:9", "HOURBOOK_READY_WITHIN_S": "5"}
    refused = hourbook("up", HOURBOOK_DATA=str(servers_folder / "away"), **free_ports(), **SERVERS_ONLY, **configured)
    assert (refused.returncode, refused.stderr) == (1, "hourbook: Kafka does not answer at 127.0.0.1:9\n")


def test_an_exchange_that_cannot_start_says_why(servers_folder):
    environment = {**free_ports(), **SERVERS_ONLY, "HOURBOOK_KAFKA": "127.0.0.1:9"}
    start = outside.running(servers_folder / "silent", **environment)
    with pytest.raises(DidNotStart, match=r"Kafka does not answer at 127\.0\.0\.1:9"), start:
        pass
