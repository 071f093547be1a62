"""Idle challenges through the service: at one moment to all that hold a request, never to a buyer's GPUs."""

import asyncio
import re
from contextlib import asynccontextmanager, suppress

import pytest

from services.delivery.store import open_pool, transaction
from services.delivery.sweeps import suspect
from tests.fixtures.delivery import TestNode, gpu_uuid
from tests.fixtures.node_agent import PlayedAgent
from tests.integration.delivery.conftest import PERIOD_S, Venue

pytestmark = pytest.mark.asyncio(loop_scope="module")
SETTINGS = {
    "idle_challenge_ms_floor": 1_000,
    "challenge_retry_ms": 500,
    "sweep_interval_s": 0.2,
    "held_s_max": 3.0,
    "absence_retry_ms": 300,
}


def node_of(seed: int) -> TestNode:
    return TestNode(seed=seed, gpus=(gpu_uuid(2 * seed), gpu_uuid(2 * seed + 1)))


@asynccontextmanager
async def running(*works):
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def enrolled(venue: Venue, account: str, seed: int) -> PlayedAgent:
    agent = PlayedAgent(node_of(seed), venue.http)
    await agent.enrol(await venue.token(account, f"token-{seed}"))
    return agent


async def held_now(venue: Venue) -> int:
    text = (await venue.http.get("/metrics")).text
    return int(float(re.search(r"^hourbook_delivery_held_requests (\S+)$", text, re.M)[1]))


async def test_an_operators_gpus_hear_their_nonces_within_a_tenth_of_a_second(venue: Venue):
    agents = [await enrolled(venue, "swept", seed) for seed in (301, 302, 303)]
    async with running(*(agent.run() for agent in agents), *(agent.listen() for agent in agents)):

        async def heard_together() -> bool:
            """Half of a grade may be swept before the operator is; his whole fleet hears at one moment."""
            times = [{at for at, gpus in agent.heard.values() if gpus == agent.node.gpus} for agent in agents]
            return any(all(any(abs(at - first) < 0.1 for at in of_one) for of_one in times) for first in times[0])

        await venue.wait_for(heard_together, 60)
        await asyncio.sleep(2)
        assert [(await venue.node(agent.node.node_id))["state"] for agent in agents] == ["active"] * 3


async def test_a_node_that_holds_no_request_is_asked_by_its_reports_and_out_after_some_absences(venue: Venue):
    agent = await enrolled(venue, "absent", 311)

    async def stands(state: str, reason: str) -> bool:
        facts = await venue.node(agent.node.node_id)
        return (facts["state"], facts["reason"]) == (state, reason)

    async with running(agent.run()):
        await venue.wait_for(lambda: stands("enrolled", "not_simultaneous"), 60)
        assert len(agent.proven) >= 4, "it answered every one of them"
        async with running(agent.listen()):
            await venue.wait_for(lambda: stands("active", "challenge_passed"), 60)


async def test_an_agent_that_is_killed_frees_its_place(venue: Venue):
    agent, before = await enrolled(venue, "killed", 321), await held_now(venue)

    async def holds(number: int) -> bool:
        return await held_now(venue) == number

    async with running(agent.listen()):
        await venue.wait_for(lambda: holds(before + 1))
    await venue.wait_for(lambda: holds(before), 5)


async def test_a_node_under_suspicion_is_proven_again_at_once(venue: Venue):
    agent = await enrolled(venue, "suspected", 331)
    async with running(agent.run(), agent.listen()):
        await venue.wait_for(lambda: venue.is_alive(agent.node.node_id))
        pool = await open_pool(venue.settings)
        async with transaction(pool) as store:
            heard = len(agent.heard)
            await suspect(store, await store.node(agent.node.node_id), "somebody asked")

        async def asked_again() -> bool:
            return len(agent.heard) > heard

        await venue.wait_for(asked_again, 2)
        await pool.close()


@pytest.mark.slow
async def test_gpus_under_lease_are_left_out_of_sweeps(venue: Venue):
    await venue.join("buyer", "read", "trade")
    await venue.join("leased", "read", "operate")
    agent = await enrolled(venue, "leased", 341)
    async with running(agent.run(), agent.listen()):
        await venue.wait_for(lambda: venue.is_alive(agent.node.node_id))
        contracts = venue.contracts(3, ahead_s=12)
        await venue.offer("leased", agent.node, contracts, 1)
        for contract in contracts:
            await venue.buy("buyer", contract, 1)
        start_s = await venue.leased(agent)
        taken = set(next(iter(agent.leases.values())).gpu_uuids)
        agent.heard.clear()
        await venue.sleep_until(start_s + 3 * PERIOD_S - 1)
        asked = {uuid for _, gpus in agent.heard.values() for uuid in gpus}
    assert asked == set(agent.node.gpus) - taken
