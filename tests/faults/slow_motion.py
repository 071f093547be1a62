"""Slow motion: servers that run a few milliseconds in thirty, so that a kill lands in the middle of things.

What a service does between two statements takes it a millisecond or two; a kill at a random moment hardly ever falls
between them. While its servers are slow it spends nearly all of its time there, as on a starved machine.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

import psutil

from infra.exchange import RunningExchange

STOPPED_S = 0.025
RUNNING_S = 0.004
SERVERS = ("kafka", "postgres")


@contextmanager
def slow_motion(exchange: RunningExchange) -> Iterator[None]:
    """Slows Kafka and PostgreSQL down for the block."""
    over = Event()
    slowing = Thread(target=_slow_down, args=(exchange, over))
    slowing.start()
    try:
        yield
    finally:
        over.set()
        slowing.join()


def _slow_down(exchange: RunningExchange, over: Event) -> None:
    pids = [pid for server in SERVERS for pid in _processes_of(exchange.pid_of(server))]
    while not over.is_set():
        try:
            _signal(pids, signal.SIGSTOP)
            over.wait(STOPPED_S)
        finally:
            _signal(pids, signal.SIGCONT)
        time.sleep(RUNNING_S)


def _processes_of(pid: int | None) -> list[int]:
    if pid is None:
        return []
    with suppress(psutil.NoSuchProcess):
        return [pid, *(child.pid for child in psutil.Process(pid).children())]
    return []


def _signal(pids: list[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
