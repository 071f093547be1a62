"""The venue's own troubles in the long run: a server or service killed, or standing still for some seconds."""

import os
import signal
import time
from contextlib import suppress

import psutil

from infra.exchange import RunningExchange
from tests.long_run.machine import now_ms
from tests.long_run.plans import Outage
from tests.long_run.truth import Moment, Trouble

READY_WITHIN_S = 90


def suffer(exchange: RunningExchange, outage: Outage) -> Trouble:
    """Lets an outage happen; returns when everything is ready again."""
    began_ms, programs = now_ms(), outage.program.split("+")
    if outage.for_s:
        pids = [pid for program in programs for pid in family(exchange.pid_of(program))]
        _signal(pids, signal.SIGSTOP)
        struck_ms = now_ms()
        time.sleep(outage.for_s)
        ended_ms = now_ms()
        _signal(pids, signal.SIGCONT)
    else:
        for program in programs:
            exchange.kill_program(program)
        struck_ms = ended_ms = now_ms()
        time.sleep(0.5)
    exchange.wait_ready(READY_WITHIN_S)
    return Trouble("outage", Moment(began_ms, struck_ms), Moment(ended_ms, now_ms()))


def family(pid: int | None) -> list[int]:
    """A server and what it has started: PostgreSQL answers from its children."""
    if pid is None:
        return []
    with suppress(psutil.NoSuchProcess):
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    return []


def _signal(pids: list[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
