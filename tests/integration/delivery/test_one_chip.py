"""One chip behind two nodes: what failed a sweep comes back only beside the other; a gate asks both at one moment."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import pytest_asyncio

from agents.node.challenge import Chain
from schemas.ids import contract_start_s
from schemas.nodes import Challenge
from services.delivery.challenges import REVIEWED_AS
from services.delivery.rebuilding import take_event
from services.delivery.settings import HOUR_MS
from services.delivery.store import Store, open_pool, transaction
from services.delivery.sweeps import suspect
from tests.fixtures.servers import LentBroker
from tests.integration.delivery.conftest import TIMES, Venue, make_database, open_venue
from tests.zoo.conftest import zoo_settings
from tests.zoo.machine import Chip
from tests.zoo.program import Given, Program

pytestmark = pytest.mark.asyncio(loop_scope="module")
# No sweep comes by itself: each follows from the one that the test asks for.
HELD_S = 1.0
CHANGES = {"idle_challenge_ms_floor": HOUR_MS, "challenge_retry_ms": 200, "held_s_max": HELD_S}
# Parts of the rated speed. The band is wide, so that a busy machine leaves each on its side: a chip that two nodes
# share is within it for one of them alone, and not for both.
LOW, SHARED, SLOW = 0.3, 0.45, 0.22


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue(servers_folder: Path, database_url: str, broker_of_modules: LentBroker) -> AsyncIterator[Venue]:
    """A venue in which an H100 takes a second for its proof, and may take three."""
    folder = servers_folder / uuid.uuid4().hex[:8]
    kafka, url = await broker_of_modules.lend(), await make_database(database_url)
    settings = zoo_settings(folder, LOW) | CHANGES
    async with open_venue(kafka.address, url, folder, settings) as venue, venue.delivery():
        yield venue


class Site(Program):
    """A node with one GPU, whose chip may be another's too; `speeds` are those of its idle proofs, then its own.

    It holds a request while `holds` is set, and a last one for as long as the venue lets it. It reports while `speaks`
    is set.
    """

    gpus = 1

    def __init__(self, given: Given, chip: Chip) -> None:
        super().__init__(given)
        self.chips, self.speeds, self.told = dict.fromkeys(self.node.gpus, chip), [], []
        self.usual, self.holds, self.speaks = chip.speed, asyncio.Event(), asyncio.Event()
        self.holds.set()
        self.speaks.set()
        self.heard: dict[str, float] = {}  # by the cause of a challenge, when it came

    async def chain(self, challenge: Challenge, uuid: str) -> Chain:
        if challenge.cause == "idle":
            self.chips[uuid].speed = self.speeds.pop(0) if self.speeds else self.usual
        return await super().chain(challenge, uuid)

    async def is_held(self) -> None:
        await self.holds.wait()

    async def report(self) -> None:
        await self.speaks.wait()
        await super().report()

    def begin(self, challenge: Challenge) -> None:
        self.heard.setdefault(challenge.cause, time.monotonic())
        super().begin(challenge)

    def tell(self, words: str) -> None:
        self.told.append(words)

    @property
    def proofs(self) -> list[str]:
        """Returns what was said of its proofs since the first."""
        return [words.removeprefix("proof ") for words in self.told if words.startswith("proof ")][1:]


class Operator:
    """Two nodes of one account."""

    def __init__(self, venue: Venue, account: str, sites: list[Site]) -> None:
        self.venue, self.account, self.sites = venue, account, sites

    @property
    def names(self) -> list[str]:
        """Returns the names of both nodes."""
        return [site.node.node_id for site in self.sites]

    async def fact(self, name: str) -> list:
        """Returns a column of both nodes, in their order."""
        pool = await open_pool(self.venue.settings)
        rows = [await Store(pool).row("find_node", name) for name in self.names]
        await pool.close()
        return [row[name] for row in rows]

    async def is_asked(self) -> None:
        """Has the venue sweep the operator."""
        pool = await open_pool(self.venue.settings)
        async with transaction(pool) as store:
            await suspect(store, await store.node(self.names[0]), "somebody asked")
        await pool.close()

    async def leases(self) -> dict[str, str]:
        """Returns what became of the lease of each node: the reason why it failed, or that it may begin."""
        pool = await open_pool(self.venue.settings)
        known = await Store(pool).leases.of_nodes(self.names)
        await pool.close()
        told = await self.venue.delivery_events()
        failed = {event.node: event.reason for event in told if event.type == "lease_ended" and not event.ok}
        begun = [name for name, leases in known.items() if any(lease.state != "pending" for lease, _ in leases)]
        return dict.fromkeys(begun, "begins") | {name: failed[name] for name in self.names if name in failed}

    async def sells_an_hour(self) -> int:
        """Sells the same hour of both nodes; returns when its gate closes, in seconds."""
        await self.venue.join(self.account, "read", "operate")
        await self.venue.join(f"buys-{self.account}", "read", "trade")
        (contract,) = self.venue.contracts(1, ahead_s=TIMES["gate_lead_s"] + 4)
        for count, site in enumerate(self.sites, start=1):
            await self.venue.offer(self.account, site.node, [contract], 1)
            await self.venue.buy(f"buys-{self.account}", contract, 1)

            async def traded(count: int = count) -> bool:
                return count == sum(event.seller == self.account for event in await self.venue.events("trade"))

            await self.venue.wait_for(traded)
        return contract_start_s(contract) - TIMES["gate_lead_s"]

    async def comes_to(self, name: str, wanted: list, within_s: float = 60) -> None:
        """Waits until a column of both nodes says so."""

        async def is_so() -> bool:
            return await self.fact(name) == wanted

        await self.venue.wait_for(is_so, within_s)


@asynccontextmanager
async def operator(venue: Venue, account: str, number: int, *chips: Chip) -> AsyncIterator[Operator]:
    """Enrols two nodes, one after the other, and has both work."""
    sites, tasks = [], []
    try:
        for place, chip in enumerate(chips):
            token = await venue.token(account, f"t-{account}-{place}")
            sites.append(site := Site(Given(venue.url, [token], number + place), chip))
            tasks.append(asyncio.create_task(site.run()))
            await venue.wait_for(lambda site=site: venue.is_alive(site.node.node_id))
        yield Operator(venue, account, sites)
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def test_one_chip_behind_two_nodes_is_out_after_three_sweeps_that_failed(venue: Venue):
    chip = Chip(SHARED)
    async with operator(venue, "one-chip", 900, chip, chip) as cheat:
        await cheat.is_asked()

        async def is_out() -> bool:
            return "quarantined" in await cheat.fact("state")

        await venue.wait_for(is_out, 60)
        assert set(REVIEWED_AS.values()).intersection(await cheat.fact("reason"))
        assert max(len(site.proofs) for site in cheat.sites) <= 5


@pytest.mark.slow
async def test_doubts_add_up_where_the_two_fail_by_turns(venue: Venue):
    async with operator(venue, "turns", 910, Chip(), Chip()) as cheat:
        cheat.sites[0].speeds, cheat.sites[1].speeds = [SLOW, 1.0, SLOW, 1.0, SLOW], [1.0, SLOW, 1.0, SLOW, 1.0]
        await cheat.is_asked()
        await cheat.comes_to("state", ["quarantined", "active"])
        assert [site.proofs for site in cheat.sites] == [
            ["too_slow", "passed", "too_slow", "passed", "too_slow"],
            ["passed", "too_slow", "passed", "too_slow", "passed"],
        ]
        # Pay is taken back since the last proof before each one's first doubt: what was passed in doubt says nothing.
        told = [event for event in await venue.delivery_events() if event.node in cheat.names]
        judged = {event.node: [] for event in told}
        for event in told:
            if event.type in ("challenge_passed", "challenge_failed"):
                judged[event.node].append(event.ts_ms)
        taken = {event.node: event.times[0].start_ms for event in told if event.type == "delivery_disproven"}
        first, second = cheat.names
        assert taken == {first: judged[first][0], second: judged[second][1]}


async def test_an_operator_whose_gpu_was_slow_once_is_back_and_not_in_doubt_after_the_next_sweep(venue: Venue):
    async with operator(venue, "slow-once", 920, Chip(), Chip()) as honest:
        honest.sites[1].speeds = [SLOW]
        await honest.is_asked()
        await honest.comes_to("doubts", [0, 1])
        await honest.comes_to("doubts", [0, 0])
        assert await honest.fact("state") == ["active", "active"]
        assert [site.proofs for site in honest.sites] == [["passed", "passed"], ["too_slow", "passed"]]
        await check_rebuilt(venue, honest)


@pytest.mark.slow
async def test_who_passes_without_an_absent_sibling_stays_in_doubt_until_both_pass_at_one_moment(venue: Venue):
    async with operator(venue, "absent", 930, Chip(), Chip()) as cheat:
        present, absent = cheat.sites
        absent.holds.clear()
        await asyncio.sleep(HELD_S)
        present.speeds = [SLOW]
        await cheat.is_asked()
        await cheat.comes_to("state", ["active", "enrolled"])
        assert (await cheat.fact("doubts"), await cheat.fact("reason")) == (
            [1, 0],
            ["challenge_passed", "not_simultaneous"],
        )
        absent.holds.set()
        await cheat.comes_to("state", ["active", "active"])
        await cheat.comes_to("doubts", [0, 0])


async def check_rebuilt(venue: Venue, honest: Operator) -> None:
    """A database that was lost knows from the topic that a node left the market for an odd speed."""
    told = [event for event in await venue.delivery_events() if event.node in honest.names]
    pool = await open_pool(venue.settings)
    async with transaction(pool) as store:
        for event in told:
            await take_event(store, event)
    await pool.close()
    assert await honest.fact("doubts") == [0, 1]


@pytest.mark.slow
async def test_one_chip_does_not_pass_one_gate_for_two_nodes_one_after_the_other(venue: Venue):
    chip = Chip(SHARED)
    async with operator(venue, "two-gates", 940, chip, chip) as cheat:
        first, second = cheat.sites
        gate_s = await cheat.sells_an_hour()
        second.holds.clear()
        await venue.sleep_until(gate_s - 0.5)
        second.speaks.clear()

        async def has_passed() -> bool:
            return first.proofs == ["passed"]

        await venue.wait_for(has_passed)
        second.speaks.set()

        async def was_late() -> bool:
            return second.proofs == ["too_late"]

        await venue.wait_for(was_late)
        await cheat.comes_to("reason", ["challenge_passed", "gate_challenge_missed"])
        assert await cheat.leases() == dict(zip(cheat.names, ["begins", "challenge_too_late"], strict=True))
        assert await cheat.fact("doubts") == [0, 0]


@pytest.mark.slow
async def test_a_node_that_is_away_when_a_gate_opens_is_waited_for_and_hears_of_it_with_the_other(venue: Venue):
    async with operator(venue, "waited-for", 950, Chip(), Chip()) as honest:
        away = honest.sites[1]
        gate_s = await honest.sells_an_hour()
        away.holds.clear()
        await venue.sleep_until(gate_s - 0.5)
        away.speaks.clear()
        await venue.sleep_until(gate_s + 1)
        away.holds.set()
        away.speaks.set()

        async def may_serve() -> bool:
            return await honest.leases() == dict.fromkeys(honest.names, "begins")

        await venue.wait_for(may_serve)
        heard = [site.heard["gate"] for site in honest.sites]
        assert abs(heard[0] - heard[1]) < 0.2
        assert [site.proofs for site in honest.sites] == [["passed"], ["passed"]]
