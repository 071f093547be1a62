"""Crashes while the exchange starts, starts right after everything was killed, and servers that stand still."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import pytest

from infra.exchange import RunningExchange, answers, free_ports, running
from infra.settings import SERVICES

pytestmark = pytest.mark.slow

PROGRAMS = ("kafka", "postgres", *SERVICES)
KILL_AFTER_S = 0.4  # by then a program is at work, and the exchange is far from ready


@pytest.fixture(scope="module")
def started(servers_folder) -> Iterator[RunningExchange]:
    with running(servers_folder / "starts", **free_ports()) as exchange:
        yield exchange


@contextmanager
def killed_while_starting(exchange: RunningExchange, program: str) -> Iterator[list[int]]:
    """Kills the program once, soon after it appears, while the block starts the exchange."""
    killed: list[int] = []
    before = exchange.pid_of(program)

    def kill() -> None:
        while exchange.pid_of(program) in (None, before):
            time.sleep(0.01)
        time.sleep(KILL_AFTER_S)
        killed.append(exchange.kill_program(program))

    killing = Thread(target=kill, daemon=True)
    killing.start()
    yield killed
    killing.join(10)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_that_is_killed_while_the_exchange_starts_comes_back(started: RunningExchange, program: str):
    started.stop()
    with killed_while_starting(started, program) as killed:
        started.start()
    assert len(killed) == 1
    started.wait_ready()
    assert started.pid_of(program) not in (None, killed[0])


@pytest.mark.timeout(300)
def test_the_exchange_starts_at_once_after_everything_was_killed(started: RunningExchange):
    for _ in range(3):
        pids = [pid for program in PROGRAMS if (pid := started.pid_of(program))]
        assert len(pids) == len(PROGRAMS)
        started.kill()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        started.start()
        started.wait_ready()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("server", ["kafka", "postgres"])
def test_no_service_says_that_it_is_ready_while_a_server_stands_still(started: RunningExchange, server: str):
    pid = started.pid_of(server)
    os.kill(pid, signal.SIGSTOP)
    try:
        deadline = time.monotonic() + 6
        ready = dict.fromkeys(SERVICES, True)
        while any(ready.values()):
            assert time.monotonic() < deadline, ready
            ready = {name: answers(name, started.addresses[name]) for name in SERVICES}
    finally:
        os.kill(pid, signal.SIGCONT)
    started.wait_ready(30)
