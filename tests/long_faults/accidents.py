"""Accidents of the long form: one, two or all programs killed, programs that stand still, zombies, a killed tree."""

import os
import random
import signal
import subprocess
import time
from collections import Counter
from contextlib import suppress

import psutil

from console.demo.sites import AgentSite, Sites
from infra.exchange import RunningExchange
from infra.ports import distinct_ports
from infra.settings import SERVICES
from tests.faults.killer import PROGRAMS, TARGETS, Killer
from tests.long_run.outages import family

KINDS = {"kill": 50, "pair": 15, "stop": 15, "zombie": 15, "tree": 5}
# Who takes turns with nobody: a second copy of these writes what the first one writes.
EXCLUSIVE = tuple(name for name in SERVICES if name != "terminal")
STANDS_S = (3.0, 8.0)
BOTH_LIVE_S = 2.0


class Accidents(Killer):
    """So many accidents of all kinds; `counts` says how many of each there were."""

    def __init__(self, exchange: RunningExchange, sites: Sites, agents: list[AgentSite], seed: int, count: int):
        super().__init__(exchange, sites, agents, seed, count)
        self._victims = [self._draw() for _ in range(count)]
        self.counts: Counter[str] = Counter()

    def _draw(self) -> str:
        match draw(self._random, KINDS):
            case "pair":
                return "+".join(self._random.sample(PROGRAMS, 2))
            case "stop":
                return f"stop {self._random.choice(PROGRAMS)}"
            case "zombie":
                return f"zombie {self._random.choice(EXCLUSIVE)}"
            case "tree":
                return "tree"
        return self._random.choice(list(TARGETS))

    def _kill(self, victim: str) -> None:
        kind, _, program = victim.partition(" ")
        match kind:
            case "stop":
                self._stand_still(program)
            case "zombie":
                self._come_back(program)
            case "tree":
                kill_tree(self._exchange)
                self._exchange.start()
            case _:
                kind = "pair" if "+" in victim else "kill"
                super()._kill(victim)
        self.counts[kind] += 1

    def _stand_still(self, program: str) -> None:
        """Stops a program and what it has started, and lets it go on."""
        self._await_process(program, not_pid=None)
        pids = family(self._exchange.pid_of(program))
        try:
            _signal(pids, signal.SIGSTOP)
            time.sleep(self._random.uniform(*STANDS_S))
        finally:
            _signal(pids, signal.SIGCONT)

    def _come_back(self, program: str) -> None:
        """Lets a second copy take over while the first one stands still; then the first one goes on beside it."""
        self._await_process(program, not_pid=None)
        first = psutil.Process(self._exchange.pid_of(program))
        port = {f"HOURBOOK_{program.upper()}_PORT": str(distinct_ports(1)[0])}
        with (self._exchange.data / "logs" / f"{program}-copy.log").open("ab") as log:
            first.suspend()
            try:
                copy = subprocess.Popen(
                    first.cmdline(),
                    env=first.environ() | port,
                    cwd=first.cwd(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
                time.sleep(self._random.uniform(*STANDS_S))
            finally:
                first.resume()
        time.sleep(BOTH_LIVE_S)
        copy.kill()
        copy.wait()


def draw(choice: random.Random, kinds: dict[str, int]) -> str:
    """Draws a kind by its weight."""
    return choice.choices(list(kinds), list(kinds.values()))[0]


def kill_tree(exchange: RunningExchange) -> None:
    """Kills the supervisor and everything that it started; nothing starts again by itself."""
    pids = [pid for program in PROGRAMS for pid in family(exchange.pid_of(program))]
    exchange.kill()
    _signal(pids, signal.SIGKILL)


def _signal(pids: list[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
