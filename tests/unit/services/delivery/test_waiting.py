"""Held requests: one place a node, bounded in all, freed by whoever hangs up; round trips by the venue's clock."""

import asyncio
from types import SimpleNamespace

import pytest

from schemas.nodes import ChallengeOffer, ChallengeWait
from services.delivery import waiting
from services.delivery.challenges import ChallengeRules, make_challenge
from services.delivery.releases import Releases
from services.delivery.settings import Settings
from services.delivery.waiting import QUICK_MAX, TRIPS_WANTED, HeldRequests, RoundTrips, TooManyHeld
from tests.fixtures.delivery import TestNode

NODES = [TestNode(seed=seed) for seed in (1, 2, 3)]
CHALLENGE = make_challenge("ch-1", "idle", "ab" * 32, NODES[0].gpus, 1_000, 2_000, ChallengeRules(32, 4, 2, 4))


class Room:
    """Held requests whose database has the challenges of `open`, and whose nodes are all well."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **settings: object):
        self.open, self.releases = [], Releases()
        self.held = HeldRequests(Settings(held_s_max=0.2, **settings), None, self.releases)

        async def signed_node(pool, node_id, message):
            return SimpleNamespace(state="active")

        async def open_of(node_id, time_ms):
            return list(self.open)

        monkeypatch.setattr(waiting, "signed_node", signed_node)
        monkeypatch.setattr(waiting, "Store", lambda pool: SimpleNamespace(challenges=SimpleNamespace(open_of=open_of)))
        self.hung_up = asyncio.Event()

    async def ask(self, node: TestNode, echo: str = "") -> ChallengeOffer:
        message = node.sign(ChallengeWait, agent=node.node_id, echo=echo, wall_ms=0)
        return await self.held.wait(node.node_id, message, self.hung_up.wait)

    async def settle(self, node: TestNode) -> str:
        """Lets a node show its round trips; returns the echo for its next request."""
        echo = ""
        for _ in range(TRIPS_WANTED):
            echo = (await self.ask(node, echo)).echo
        return echo

    async def hold(self, node: TestNode) -> asyncio.Task:
        task = asyncio.create_task(self.ask(node, await self.settle(node)))
        while node.node_id not in self.held.present:
            await asyncio.sleep(0)
        return task


async def test_a_node_is_answered_at_once_until_its_round_trip_is_known_and_then_held(monkeypatch):
    room = Room(monkeypatch)
    task = await room.hold(NODES[0])
    assert (room.held.trips.known(NODES[0].node_id), room.held.present) == (TRIPS_WANTED, [NODES[0].node_id])
    assert (await task).challenges == ()
    assert room.held.present == []


async def test_a_node_that_shows_no_round_trip_is_held_as_well(monkeypatch):
    room = Room(monkeypatch)
    for _ in range(QUICK_MAX):
        await room.ask(NODES[0])
    began = asyncio.get_running_loop().time()
    await room.ask(NODES[0])
    assert asyncio.get_running_loop().time() - began >= 0.19
    assert room.held.trips.of(NODES[0].node_id) == 0


async def test_challenges_go_to_all_that_are_there_at_one_moment_and_start_their_clocks(monkeypatch):
    room = Room(monkeypatch)
    tasks = [await room.hold(node) for node in NODES[:2]]
    room.releases.begin_sweep(["ch-1"])
    assert room.held.hand_out({node.node_id: [CHALLENGE] for node in NODES}) == 2
    assert [(await task).challenges for task in tasks] == [(CHALLENGE,), (CHALLENGE,)]
    assert 0 <= room.releases.since_sweep_us("ch-1") < 100_000
    assert room.releases.since_sweep_us("ch-2") is None


async def test_a_challenge_that_waits_is_told_once_over_this_way(monkeypatch):
    room = Room(monkeypatch)
    echo = await room.settle(NODES[0])
    room.open = [CHALLENGE]
    first = await room.ask(NODES[0], echo)
    assert (first.challenges, room.releases.of("ch-1") is not None) == ((CHALLENGE,), True)
    assert (await room.ask(NODES[0], first.echo)).challenges == ()


async def test_a_newer_request_takes_the_node_s_place_over(monkeypatch):
    room = Room(monkeypatch)
    older = await room.hold(NODES[0])
    newer = asyncio.create_task(room.ask(NODES[0]))
    assert (await older).challenges == ()
    assert room.held.hand_out({NODES[0].node_id: [CHALLENGE]}) == 1
    assert (await newer).challenges == (CHALLENGE,)


async def test_whoever_hangs_up_frees_his_place_and_others_may_have_it(monkeypatch):
    room = Room(monkeypatch, held_requests_max=1)
    task = await room.hold(NODES[0])
    with pytest.raises(TooManyHeld):
        await room.ask(NODES[1])
    room.hung_up.set()
    await task
    room.hung_up.clear()
    assert room.held.present == []
    await room.ask(NODES[1])


def test_a_round_trip_is_the_smallest_of_those_that_were_seen_and_bounded(monkeypatch):
    trips, clock = RoundTrips(trip_us_max=200_000), SimpleNamespace(now_us=1_000_000_000)
    monkeypatch.setattr(waiting, "clock_us", lambda: clock.now_us)
    for took_us in (90_000, 30_000, 500_000):
        echo = trips.answered("node-1")
        clock.now_us += took_us
        trips.asked("node-1", echo, clock.now_us)
    assert (trips.known("node-1"), trips.of("node-1"), trips.of("node-2")) == (3, 30_000, 0)
    trips.asked("node-1", "f" * 32, clock.now_us)
    assert trips.known("node-1") == 3
    echo = trips.answered("node-3")
    clock.now_us += 5_000_000
    trips.asked("node-3", echo, clock.now_us)
    assert trips.of("node-3") == 200_000
    clock.now_us += 1_000_000_000
    assert (trips.known("node-1"), trips.of("node-1")) == (0, 0)
