"""Keeps the zoo: runs programs against a venue, each in a process of its own; notes what gives them away and when."""

import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.fixtures.answering import ask_patiently
from tests.integration.delivery.conftest import Venue
from tests.zoo.inside import Visit
from tests.zoo.layers import Blind
from tests.zoo.market import Market
from tests.zoo.nursery import Running, start
from tests.zoo.program import Given, Named, Program

AT_ONCE, ROOMS = 6, 16
LOOK_S, QUIET_S = 0.25, 3.0
TOKENS = 2
LEASE, CREATED = "lease ", 201
DISPUTED = "disputed meters_differ"


@dataclass
class Seen:
    """One program's stay: after how many seconds it was told or became what, and how it complained."""

    words: list[tuple[float, str]] = field(default_factory=list)
    complaint: str = ""

    def first(self, sign: str) -> float | None:
        """Returns after how many seconds a sign was first seen."""
        return next((seconds for seconds, words in self.words if words == sign), None)

    @property
    def leases(self) -> list[str]:
        """Returns the leases that the program has opened."""
        return [words.removeprefix(LEASE) for _, words in self.words if words.startswith(LEASE)]

    @property
    def signs(self) -> list[str]:
        """Returns what was said against the program, each once."""
        usual = ("accepted", "proof passed", LEASE)
        return list(dict.fromkeys(words for _, words in self.words if not words.startswith(usual)))


@dataclass
class Stay:
    """One program at a venue. Where there is a market it sells there, once it is let; `spared_by` overlooks it.

    `buyer` enters what he buys; `judge` decides where two meters differ.
    """

    venue: Venue
    kind: type[Program]
    number: int
    market: Market | None = None
    spared_by: Blind | None = None
    buyer: httpx.AsyncClient | None = None
    judge: httpx.AsyncClient | None = None
    seen: Seen = field(default_factory=Seen)
    began: float = 0.0
    looked_at: int = 0

    @property
    def account(self) -> str:
        """The operator's account."""
        return f"zoo-{self.number}"

    @property
    def buyer_account(self) -> str:
        """The account that buys what he sells."""
        return f"buyer-{self.number}"

    @property
    def first_buyer_account(self) -> str:
        """The account of an ordinary buyer before that one."""
        return f"passer-by-{self.number}"

    @property
    def accounts(self) -> tuple[str, str, str]:
        """All of them."""
        return self.account, self.buyer_account, self.first_buyer_account

    async def run(self, stay_s: float, turns: asyncio.Semaphore) -> None:
        """Lets the program stay until its sign is seen and its hours are settled, at most so long.

        Without a sign, and without hours, it stays the whole time. A turn lasts until it is proven, or for the whole
        stay where nothing is sold.
        """
        async with turns:
            process, named = await self._start()
            listening = asyncio.create_task(self._listen(process))
            looking = asyncio.create_task(self._look(named))
            selling = asyncio.create_task(self._sell(process, named)) if self._sells else None
            with suppress(TimeoutError):
                async with asyncio.timeout(stay_s):
                    await self._until(lambda: self._is_proven if self._sells else self._is_caught)
        if self._sells:
            with suppress(TimeoutError):
                async with asyncio.timeout(stay_s):
                    await selling
                    await self._until(lambda: self._is_caught or self.spared_by is not None)
                    await self._until(lambda: self.market.is_settled(self.account))
            await asyncio.sleep(QUIET_S)  # in which what is measured again is settled
        elif self.market is not None:
            await self.market.sell(self.account, named.sellers, self.buyer_account)
        if looking.done():
            looking.result()  # it goes on until here, unless it failed
        looking.cancel()
        process.stdin.close()
        self.seen.complaint = (await process.stderr.read()).decode()[-2_000:]
        await process.wait()
        await listening
        if selling is not None and not selling.done():
            selling.cancel()

    @property
    def _sells(self) -> bool:
        return self.market is not None and (self.kind.sells or self.kind is Program)

    @property
    def _is_proven(self) -> bool:
        return self.seen.first("active challenge_passed") is not None

    @property
    def _is_caught(self) -> bool:
        last = self.kind.in_the_end or self.kind.sign
        return self.seen.first(last) is not None if last else self._sells

    async def _until(self, condition) -> None:
        while not condition():
            await asyncio.sleep(LOOK_S)

    async def _start(self) -> tuple[Running, Named]:
        tokens = [await self.venue.token(self.account, f"t-{self.account}-{index}") for index in range(TOKENS)]
        times = (self.venue.period_s, self.market.gate_lead_s) if self._sells else ()
        given = Given(self.venue.url, tokens, self.number, self._sells, *times)
        process = await start(self.kind.__name__)
        process.stdin.write(json.dumps(asdict(given)).encode() + b"\n")
        named = Named(**json.loads(await process.stdout.readline()))
        if self.spared_by is not None:
            self.spared_by.spare(self.kind.caught_by, named)
        self.began = time.monotonic()
        return process, named

    async def _listen(self, process: Running) -> None:
        async for line in process.stdout:
            self._note(line.decode().strip())

    def _note(self, words: str) -> None:
        self.seen.words.append((time.monotonic() - self.began, words))

    async def _look(self, named: Named) -> None:
        while True:
            words = await self._ask_venue(named.node) if self.market is None else self._told(named)
            for each in words:
                if self.seen.first(each) is None:
                    self._note(each)
            if self.market is not None and self.market.settlements(self.account) > self.looked_at:
                self.looked_at = self.market.settlements(self.account)
                await self._look_at_hours()
            await asyncio.sleep(LOOK_S)

    def _told(self, named: Named) -> list[str]:
        return [words for node in (named.node, *named.sellers) for words in self.market.told[node]]

    async def _ask_venue(self, node: str) -> list[str]:
        answer = await self.venue.http.get(f"/v1/nodes/{node}")
        if not answer.is_success:
            return []
        facts = answer.json()
        return [
            f"{facts['state']} {facts['reason']}".strip(),
            *(f"held {each['reason']}" for each in facts["level_held"]),
        ]

    async def _look_at_hours(self) -> None:
        """Notes what the meter did not count; where two meters differ a person takes the renter's word."""
        for position in self.market.disputed.intersection(self.market.positions[self.account]):
            if self.seen.first(DISPUTED) is None:
                self._note(DISPUTED)
                await self._decide(position)
        for reason in await self.market.reasons(self.account):
            if self.seen.first(f"metered {reason}") is None:
                self._note(f"metered {reason}")

    async def _decide(self, position: int) -> None:
        """Takes the renter's word; while a revision of the position is under way, tries again."""
        decision = {"inputs": {"differences": "renter"}, "reason": "the_buyer_had_no_gpu"}
        path = f"/v1/disputes/d-{position}-venue/decision"
        (await ask_patiently(self.judge, path, json=decision)).raise_for_status()

    async def _sell(self, process: Running, named: Named) -> None:
        for node in named.sellers:
            await self.market.lives(node)
        if self.kind.sold_before:
            await self.market.sell(self.account, named.sellers, self.first_buyer_account)
            await self._until(lambda: self.market.is_settled(self.account))
        await self.market.sell(self.account, named.sellers, self.buyer_account, self.kind.periods)
        if self.buyer is not None:
            await self._visit(process)

    async def _visit(self, process: Running) -> None:
        """Enters the lease as its buyer, with a meter key that he has registered."""
        before = 1 if self.kind.sold_before else 0
        await self._until(lambda: len(self.seen.leases) > before)
        lease_id = self.seen.leases[before]
        key = Ed25519PrivateKey.generate()
        form = {"public_key": key.public_key().public_bytes_raw().hex()}
        while (await self.buyer.post(f"/v1/leases/{lease_id}/meter-key", json=form)).status_code != CREATED:
            await asyncio.sleep(LOOK_S)
        visit = Visit(lease_id, key.private_bytes_raw().hex(), self.kind.visit)
        process.stdin.write(json.dumps(asdict(visit)).encode() + b"\n")


async def keep(stays: Sequence[Stay], stay_s: float, at_once: int = AT_ONCE) -> dict[str, Seen]:
    """Lets programs stay, some at a time; returns what was seen of each.

    So many prove themselves at a time, and not many more are there at all: one machine plays all of them.
    """
    turns, rooms = asyncio.Semaphore(at_once), asyncio.Semaphore(ROOMS)

    async def keep_one(stay: Stay) -> None:
        async with rooms:
            await stay.run(stay_s, turns)

    async with asyncio.TaskGroup() as group:
        for stay in stays:
            group.create_task(keep_one(stay))
    return {stay.kind.__name__: stay.seen for stay in stays}
