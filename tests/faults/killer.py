"""The killer: every program and an agent in turn, then at random, each with SIGKILL; once everything together."""

import asyncio
import random
import time

from console.demo.sites import AgentSite, Sites
from infra.exchange import RunningExchange
from infra.settings import SERVICES
from tests.faults.slow_motion import slow_motion

PROGRAMS = (*SERVICES, "kafka", "postgres")
TARGETS = {name: (name,) for name in PROGRAMS} | {"everything": PROGRAMS, "agent": ()}
BACK_WITHIN_S = 120
CALM_S = 1.5
HASTE = 0.25
HASTE_WITH_SERVERS = 0.6  # a service that dies while Kafka or PostgreSQL is away leaves the most half done
HASTE_S = 0.6
SLOW_S_MAX = 0.8


class Killer:
    """Kills `kills` programs, and notes what was killed and how long the exchange needed to be ready again."""

    def __init__(self, exchange: RunningExchange, sites: Sites, agents: list[AgentSite], seed: int, kills: int):
        self._exchange, self._sites, self._agents = exchange, sites, agents
        self._random = random.Random(seed)
        first = list(TARGETS)
        self._random.shuffle(first)
        self._victims = (first + self._random.choices(first, k=kills))[:kills]

    async def run(self) -> None:
        """Kills, waits until all is ready (or, in haste, does not), lets the load run for a while, and goes on."""
        pause_s = CALM_S
        for victim in self._victims:
            await asyncio.sleep(pause_s * self._random.uniform(0.3, 1.7))
            began = time.monotonic()
            await asyncio.to_thread(self._kill, victim)
            hasty = self._random.random() < (HASTE_WITH_SERVERS if victim in ("kafka", "postgres") else HASTE)
            if hasty:
                pause_s = HASTE_S
                print(f"struck {victim}, and goes on", flush=True)
                continue
            pause_s = CALM_S
            await asyncio.to_thread(self._exchange.wait_ready, BACK_WITHIN_S)
            print(f"struck {victim}: all ready again after {time.monotonic() - began:.1f} s", flush=True)
        await asyncio.to_thread(self._exchange.wait_ready, BACK_WITHIN_S)

    def _kill(self, victim: str) -> None:
        """Kills a target, or programs joined by `+`, that may be on their way back from the last time, and waits for
        the next processes.
        """
        programs = TARGETS[victim] if victim in TARGETS else tuple(victim.split("+"))
        for program in programs:
            self._await_process(program, not_pid=None)
        with slow_motion(self._exchange):
            time.sleep(self._random.uniform(0.1, SLOW_S_MAX))
            if victim in ("agent", "everything"):
                self._sites.restart(self._random.choice(self._agents))
            killed = {program: self._exchange.kill_program(program) for program in programs}
        for program, pid in killed.items():
            self._await_process(program, not_pid=pid)

    def _await_process(self, program: str, not_pid: int | None) -> None:
        deadline = time.monotonic() + BACK_WITHIN_S
        while self._exchange.pid_of(program) in (not_pid, None):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{program} was not started again; its log is in {self._exchange.data / 'logs'}")
            time.sleep(0.05)
