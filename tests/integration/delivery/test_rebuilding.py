"""PostgreSQL is put back from an older copy, then lost: nodes, chains, reports, leases and disputes are there again.

Tiers: nodes and leases in the default (40 s, most of it starting and stopping), disputes and doors in CI.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
import asyncssh
import httpx
import pytest

from schemas.ids import contract_start_s
from schemas.renter import PlaceRequest, RenterPlace, renter_agent
from tests.fixtures.delivery import TestNode, gpu_uuid
from tests.fixtures.node_agent import PlayedAgent
from tests.fixtures.renter import Renter, RenterGpus
from tests.integration.delivery.conftest import PERIOD_S, Venue, make_database


async def copy_database(url: str) -> str:
    """Makes a copy of a database that nobody uses, as a backup would have it; returns its address."""
    server, _, name = url.rpartition("/")
    connection = await asyncpg.connect(f"{server}/postgres")
    try:
        await connection.execute(f'alter database "{name}" allow_connections false')
        await connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", name)
        await connection.execute(f'create database "{name}_copy" template "{name}"')
        await connection.execute(f'alter database "{name}" allow_connections true')
    finally:
        await connection.close()
    return f"{server}/{name}_copy"


async def test_nodes_and_a_running_lease_outlive_a_restored_and_a_lost_database(quiet_venue: Venue):  # A7, A17, A18
    venue, node, first_url = quiet_venue, TestNode(), quiet_venue.settings.database_url
    async with AsyncExitStack() as stack:
        async with venue.delivery():
            await venue.join("alice", "read", "trade")
            await venue.join("ops", "read", "operate")
            agent = await stack.enter_async_context(venue.site("ops", node))
        older_url = await copy_database(first_url)
        async with venue.delivery():
            contracts = venue.contracts(1, ahead_s=12)
            await venue.offer("ops", node, contracts, 2)
            await venue.buy("alice", contracts[0], 2)
            await venue.sleep_until(await venue.leased(agent) + 1)
            acknowledged = agent.node.seq
        venue.settings = venue.settings.model_copy(update={"database_url": older_url})
        async with venue.delivery():
            (settled,) = await venue.settled("alice", 1)
            assert (await venue.node(node.node_id))["state"] == "active"
        assert settled.delivered_gpu_s + settled.excused_gpu_s == settled.qty * settled.period_s
        assert (settled.delivered_gpu_s > 0, settled.damages_micros) == (True, 0)
        empty = await make_database(first_url)
        venue.settings = venue.settings.model_copy(update={"database_url": empty})
        async with venue.delivery():
            back = await venue.node(node.node_id)
            seq, heard_ms = agent.node.seq, back["last_report_ms"]

            async def goes_on() -> bool:
                return (await venue.node(node.node_id))["last_report_ms"] > heard_ms

            await venue.wait_for(goes_on)
        assert (back["state"], back["account"], back["gpus"]) == ("active", "ops", sorted(node.gpus))
        assert agent.node.seq >= seq > acknowledged
        assert set(agent.refusals) <= {"report_nonce_stale", "unavailable"}


@asynccontextmanager
async def ssh_door(agent: PlayedAgent) -> AsyncIterator[None]:
    """An SSH server at which nobody gets in, but which shows the key that the agent's hook names."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    server = await asyncssh.listen("127.0.0.1", 0, server_host_keys=[key])
    agent.host_key = " ".join(key.export_public_key().decode().split()[:2])
    agent.endpoint = f"ssh://lease@127.0.0.1:{server.get_port()}"
    try:
        yield
    finally:
        server.close()


async def go_dark(venue: Venue, agent: PlayedAgent) -> None:
    """Keeps an agent from the venue for longer than its own word counts and shorter than what ends its lease.

    Both count from the last live report to the next one; an interval is proven by that one.
    """
    limits = venue.settings.limits(PERIOD_S * 1000)
    agent.reaches.clear()
    await asyncio.sleep(0.5)  # what was under way has arrived
    heard_ms = (await venue.node(agent.node.node_id))["last_report_ms"]
    agent.interval_s = 0.2  # it is not to sleep for long when it may report again
    await venue.sleep_until((heard_ms + limits.gap_ms_max + limits.interval_ms + 200) / 1000)
    agent.reaches.set()


async def place_of(venue: Venue, renter: Renter) -> tuple[int, str]:
    """Where the venue says that a renter's chain stands."""
    question = renter.identity.sign(PlaceRequest, agent=renter_agent(renter.lease_id)).canonical()
    answer = await venue.http.post(f"/v1/leases/{renter.lease_id}/place", content=question)
    place = RenterPlace.model_validate_json(answer.content)
    return place.seq, place.hash


async def decided(judge: httpx.AsyncClient, dispute_id: str, inputs: dict, key: str = "") -> tuple[str, int]:
    form, headers = {"inputs": inputs, "reason": "looked_at_it"}, {"Idempotency-Key": key} if key else {}
    answer = (await judge.post(f"/v1/disputes/{dispute_id}/decision", json=form, headers=headers)).json()
    return answer["outcome"], answer["revision"]


@pytest.mark.slow
async def test_disputes_renters_doors_and_freed_gpus_outlive_a_lost_database(quiet_venue: Venue):
    venue, node = quiet_venue, TestNode(gpus=(gpu_uuid(1),))
    old, new = (TestNode(seed=seed, gpus=(gpu_uuid(20),)) for seed in (2, 3))
    async with AsyncExitStack() as stack:
        async with venue.delivery():
            alice, judge = await venue.join("alice", "read", "trade"), await venue.join("judge", "read", "arbiter")
            ops = await venue.join("ops", "read", "operate")
            agent = await stack.enter_async_context(venue.site("ops", node))
            await stack.enter_async_context(ssh_door(agent))
            await PlayedAgent(old, venue.http).enrol(await venue.token("ops", "old"))
            released, key = {"release_to": "west"}, {"Idempotency-Key": "once"}
            path = f"/v1/nodes/{old.node_id}/retire"
            retired, again = [await ops.post(path, json=released, headers=key) for _ in range(2)]
            assert (retired.status_code, again.json()) == (200, retired.json())
            assert (await ops.post(path, json={}, headers=key)).json()["code"] == "conflict"
            await PlayedAgent(new, venue.http).enrol(await venue.token("west", "new"))

            contracts = venue.contracts(2, ahead_s=12)
            await venue.offer("ops", node, contracts, 1)
            await venue.buy_block("alice", contracts, 1)
            start_s = await venue.leased(agent)
            lease = next(iter(agent.leases))
            # Dark in the first hour; the renter's meter sees the second.
            await venue.sleep_until(start_s + 0.3)
            await go_dark(venue, agent)
            await venue.sleep_until(start_s + PERIOD_S)
            renter = Renter(lease, RenterGpus(node.gpus))
            assert (await renter.register(alice)).status_code == 201
            half_ms = contract_start_s(contracts[1]) * 1000 + PERIOD_S * 500
            await renter.run(venue.url, lambda now_ms: now_ms >= half_ms)
            first, second = await venue.settled("alice", 2)
            form = {"reason": "no_access", "evidence": "I knocked at noon."}
            opening = f"/v1/positions/{first.position_id}/disputes"
            opened = await alice.post(opening, json=form, headers=key)
            assert opened.status_code == 201
            inputs = (await alice.get(f"/v1/positions/{first.position_id}/meter")).json()["inputs"]
            disputes, place = (await alice.get("/v1/disputes")).json()["items"], await place_of(venue, renter)
        assert first.delivered_gpu_s == PERIOD_S
        assert "door" in {each["kind"] for each in inputs["witnesses"]}
        assert {each["dispute_id"]: each["state"] for each in disputes} == {
            f"d-{first.position_id}-buyer": "OPEN",
            f"d-{second.position_id}-venue": "OPEN",
        }
        assert (place[0] > 0, second.delivered_gpu_s < PERIOD_S) == (True, True)

        venue.settings = venue.settings.model_copy(
            update={"database_url": await make_database(venue.settings.database_url)}
        )
        async with venue.delivery():
            assert (await alice.get("/v1/disputes")).json()["items"] == disputes
            assert await place_of(venue, renter) == place
            for client, where, body, first_answer in ((ops, path, released, retired), (alice, opening, form, opened)):
                again = await client.post(where, json=body, headers=key)
                assert (again.status_code, again.content) == (first_answer.status_code, first_answer.content)
            assert [(await venue.node(each.node_id))["gpus"] for each in (old, new)] == [[], list(new.gpus)]
            # What is on record says what it said before, and whose word stands about the rest is still to be decided.
            assert await decided(judge, f"d-{first.position_id}-buyer", {}) == ("confirmed", 1)
            for _ in range(2):
                corrects = await decided(judge, f"d-{second.position_id}-venue", {"differences": "renter"}, "corrects")
                assert corrects == ("corrected", 2)
            *_, corrected = await venue.settled("alice", 3)
        assert (corrected.position_id, corrected.revision) == (second.position_id, 2)
        assert corrected.delivered_gpu_s == second.delivered_gpu_s
