"""Keeps the zoo: runs programs against a venue, each in a process of its own; notes what gives them away and when."""

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field

from infra.places import REPOSITORY
from tests.integration.delivery.conftest import Venue
from tests.zoo.program import Given, Program

AT_ONCE = 6
LOOK_S = 0.25
TOKENS = 2


@dataclass
class Seen:
    """One program's stay: after how many seconds it was told or became what, and how it complained."""

    words: list[tuple[float, str]] = field(default_factory=list)
    complaint: str = ""

    def first(self, sign: str) -> float | None:
        """Returns after how many seconds a sign was first seen."""
        return next((seconds for seconds, words in self.words if words == sign), None)

    @property
    def signs(self) -> list[str]:
        """Returns what was said against the program, each once."""
        return list(dict.fromkeys(words for _, words in self.words if words not in ("accepted", "proof passed")))


async def keep(venue: Venue, kinds: Sequence[type[Program]], first_number: int, stay_s: float) -> dict[str, Seen]:
    """Lets programs stay until their sign is seen, at most so long; without a sign they stay the whole time."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def stay(place: int, kind: type[Program]) -> Seen:
        async with turns:
            return await _stay(venue, kind, first_number + place, stay_s)

    seen = await asyncio.gather(*(stay(place, kind) for place, kind in enumerate(kinds)))
    return {kind.__name__: each for kind, each in zip(kinds, seen, strict=True)}


async def _stay(venue: Venue, kind: type[Program], number: int, stay_s: float) -> Seen:
    account = f"zoo-{number}"
    tokens = [venue.token(account, f"t-{account}-{index}") for index in range(TOKENS)]
    given, seen = Given(venue.url, tokens, number), Seen()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.zoo", kind.__name__, cwd=REPOSITORY, stdin=-1, stdout=-1, stderr=-1
    )
    process.stdin.write(json.dumps(asdict(given)).encode() + b"\n")
    await process.stdin.drain()
    name = (await process.stdout.readline()).decode().strip()
    began = time.monotonic()

    async def listen() -> None:
        async for line in process.stdout:
            seen.words.append((time.monotonic() - began, line.decode().strip()))

    listening = asyncio.create_task(listen())
    with suppress(TimeoutError):
        async with asyncio.timeout(stay_s):
            while seen.first(kind.sign) is None and not listening.done():
                await _look(venue, name, seen, began)
                await asyncio.sleep(LOOK_S)
    process.stdin.close()
    seen.complaint = (await process.stderr.read()).decode()[-2_000:]
    await process.wait()
    await listening
    return seen


async def _look(venue: Venue, name: str, seen: Seen, began: float) -> None:
    answer = await venue.http.get(f"/v1/nodes/{name}")
    if answer.is_success:
        facts = answer.json()
        held = [f"held {hold['reason']}" for hold in facts["level_held"]]
        for words in (f"{facts['state']} {facts['reason']}".strip(), *held):
            if seen.first(words) is None:
                seen.words.append((time.monotonic() - began, words))
