"""The killer: every program in turn, then at random, each with SIGKILL, each given time to come back."""

import asyncio
import random
import time

from infra.exchange import RunningExchange
from infra.settings import SERVICES

TARGETS = (*SERVICES, "kafka", "postgres")
BACK_WITHIN_S = 60


class Killer:
    """Kills `kills` programs; `log` says what was killed and how long the exchange needed to be ready again."""

    def __init__(self, exchange: RunningExchange, kills: int, seed: int, calm_s: float):
        self._exchange, self._random, self._calm_s = exchange, random.Random(seed), calm_s
        first = list(TARGETS)
        self._random.shuffle(first)
        self._victims = (first + self._random.choices(TARGETS, k=kills))[:kills]
        self.log: list[tuple[str, float]] = []

    async def run(self) -> None:
        """Kills, waits until all is ready, lets the load run for a while, and goes on."""
        for victim in self._victims:
            await asyncio.sleep(self._calm_s * self._random.uniform(0.5, 1.5))
            began = time.monotonic()
            old = await asyncio.to_thread(self._exchange.kill_program, victim)
            await asyncio.to_thread(self._wait_new_process, victim, old)
            await asyncio.to_thread(self._exchange.wait_ready, BACK_WITHIN_S)
            self.log.append((victim, round(time.monotonic() - began, 1)))
            print(f"killed {victim}: ready again after {self.log[-1][1]} s", flush=True)

    def _wait_new_process(self, victim: str, old: int) -> None:
        deadline = time.monotonic() + BACK_WITHIN_S
        while self._exchange.pid_of(victim) in (old, None):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{victim} was not started again")
            time.sleep(0.05)
