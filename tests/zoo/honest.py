"""Honest agents with what befalls honest machines: chips of unlike speed, driver updates, reboots, networks that fail.

`python -m tests.zoo.honest` reads one line of JSON, `Crowd`, lets the agents live, some at a time, and prints a line of
JSON for each: its node, what it was told, how often the network failed it. The published spread of GPUs of one type is
34.5 %.
"""

import asyncio
import json
import random
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass, field

import httpx

from schemas.nodes import SignedMessage
from tests.zoo.machine import Chip
from tests.zoo.program import Given, Program

SPREAD = 0.345
REPORTS, PAUSE_S, TRIES_MAX = 6, 0.1, 30
NEW_DRIVER, UNKNOWN_DRIVER = "575.57.08", "590.44.01"
LOST_REQUESTS, LOST_ANSWERS = 0.03, 0.03
UPDATES, UNKNOWN_UPDATES, REBOOTS, FLAKY = 0.05, 0.02, 0.05, 0.2
TICK_S, LATE_S_MAX, REMEMBERED_S = 0.05, 0.1, 1.0


@dataclass
class Fate:
    """What befalls one agent: after which report, if ever, its driver is updated, and to what; when it reboots."""

    speed: float
    is_flaky: bool
    updated_after: int | None
    driver: str
    reboots_after: int | None


def draw_fate(chance: random.Random) -> Fate:
    """Draws a fate."""
    update = chance.random()
    return Fate(
        speed=1 - SPREAD * chance.random(),
        is_flaky=chance.random() < FLAKY,
        updated_after=chance.randrange(1, REPORTS) if update < UPDATES else None,
        driver=UNKNOWN_DRIVER if update < UNKNOWN_UPDATES else NEW_DRIVER,
        reboots_after=chance.randrange(1, REPORTS) if chance.random() < REBOOTS else None,
    )


@dataclass(frozen=True)
class Crowd:
    """Where the venue is, a token for each agent by its number, how many live at a time, what decides their fates."""

    url: str
    tokens: dict[str, str]
    at_once: int
    seed: int


@dataclass
class Life:
    """What an agent met: each line that the venue told it, and how often the network failed it."""

    node_id: str
    words: list[str] = field(default_factory=list)
    lost: int = 0


class HonestAgent(Program):
    """One honest node with one GPU, for so many reports."""

    gpus = 1

    def __init__(self, given: Given, fate: Fate, chance: random.Random, http: httpx.AsyncClient) -> None:
        super().__init__(given, http)
        self.fate, self.chance, self.life = fate, chance, Life(self.node.node_id)
        self.chips = {uuid: Chip(fate.speed) for uuid in self.node.gpus}

    async def live(self) -> Life:
        """Enrols, proves, reports, and meets its fate."""
        await self.enrol()
        for number in range(REPORTS):
            await self.report()
            if number + 1 == self.fate.updated_after:
                self.node.software |= {"driver_version": self.fate.driver, "kernel_driver_version": self.fate.driver}
            if number + 1 == self.fate.reboots_after:
                self.node.boot_id, self.energy_mj = f"{self.node.boot_id}-again", 0
            await asyncio.sleep(PAUSE_S)
        await asyncio.gather(*self.proving.values())
        if "proof passed" not in self.life.words:
            await self._prove_again()
        return self.life

    async def _prove_again(self) -> None:
        """Waits to be asked again, as a busy venue does, or over a held request where the first proof was in doubt."""
        listening = asyncio.create_task(self.listen())
        for _ in range(TRIES_MAX):
            await asyncio.sleep(self.interval_s)
            await self.report()
            await asyncio.gather(*self.proving.values())
            if "proof passed" in self.life.words:
                break
        listening.cancel()

    async def post(self, path: str, message: SignedMessage) -> bytes | None:
        """Posts a message over a network that loses requests and answers; it is sent again, the same bytes."""
        while self.fate.is_flaky:
            fortune = self.chance.random()
            if fortune < LOST_REQUESTS + LOST_ANSWERS:
                self.life.lost += 1
                if fortune > LOST_REQUESTS:
                    await self.http.post(path, content=message.canonical())
                await asyncio.sleep(0.1)
                continue
            break
        return await super().post(path, message)

    def tell(self, words: str) -> None:
        """Notes it."""
        self.life.words.append(words)


class Breath:
    """How late this process runs. One process plays all machines: while it is late, no further one is begun."""

    def __init__(self) -> None:
        self._late: deque[float] = deque(maxlen=round(REMEMBERED_S / TICK_S))

    async def watch(self) -> None:
        """Watches for ever."""
        while True:
            began = time.monotonic()
            await asyncio.sleep(TICK_S)
            self._late.append(time.monotonic() - began - TICK_S)

    async def is_back(self) -> None:
        """Returns when the process has kept up for a while."""
        while max(self._late, default=0) > LATE_S_MAX:
            await asyncio.sleep(TICK_S)


async def live_all(crowd: Crowd) -> None:
    """Lets a crowd live."""
    turns, breath = asyncio.Semaphore(crowd.at_once), Breath()

    async def live(number: str, token: str) -> None:
        chance = random.Random(f"{crowd.seed}/{number}")
        async with turns:
            await breath.is_back()
            agent = HonestAgent(Given(crowd.url, [token], int(number)), draw_fate(chance), chance, http)
            print(json.dumps(asdict(await agent.live())), flush=True)

    async with httpx.AsyncClient(base_url=crowd.url, timeout=60) as http:
        watching = asyncio.create_task(breath.watch())
        async with asyncio.TaskGroup() as group:
            for number, token in crowd.tokens.items():
                group.create_task(live(number, token))
        watching.cancel()


if __name__ == "__main__":
    asyncio.run(live_all(Crowd(**json.loads(sys.stdin.readline()))))
