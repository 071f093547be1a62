"""Machines that move between nodes and accounts: what an operator may do alone, and what nobody may.

Tier: default, on the shared exchange of tests/integration/delivery; about a minute. Cases O05 and A25 of the field.
"""

import asyncpg
import httpx
import pytest

from clients.http import open_async_client
from schemas.nodes import EnrolReply, GpuChange
from tests.fixtures.delivery import TestNode, gpu_uuid
from tests.fixtures.node_agent import PlayedAgent
from tests.integration.delivery.conftest import Venue
from tests.integration.delivery.test_edge import code

pytestmark = pytest.mark.asyncio(loop_scope="module")


def machine(key: int, gpus: int) -> TestNode:
    """A node under a key of its own, with two GPUs that may be another node's too."""
    return TestNode(seed=key, gpus=(gpu_uuid(2 * gpus), gpu_uuid(2 * gpus + 1)))


async def enrolled(venue: Venue, node: TestNode, account: str = "ops") -> PlayedAgent:
    agent = PlayedAgent(node, venue.http)
    reply = await agent.enrol(await venue.token(account, f"move-{node.seed}"))
    assert isinstance(reply, EnrolReply)
    return agent


async def enrol(venue: Venue, node: TestNode, account: str = "ops", **changes: object) -> httpx.Response:
    request = node.enrolment(await venue.token(account, f"move-{account}-{node.seed}"), **changes)
    return await venue.http.post("/v1/nodes", content=request.canonical())


async def client_of(venue: Venue, account: str) -> httpx.AsyncClient:
    """A client that signs for an account, once delivery knows the key."""
    if account not in venue.keys:
        await venue.join(account, "read", "operate")
    client = open_async_client(venue.url, venue.keys[account])

    async def is_known() -> bool:
        return (await client.get("/v1/receipts")).status_code == 200

    await venue.wait_for(is_known)
    return client


def change(node: TestNode, *gpus: str, **changes: object) -> bytes:
    inventory = tuple(node.inventory(uuid, place) for place, uuid in enumerate(gpus))
    fields = {"agent": node.node_id, "boot_id": node.boot_id, "gpus": inventory, "nvml_simulated": True, "wall_ms": 0}
    return node.sign(GpuChange, **fields | changes).canonical()


async def test_o05_a_retired_nodes_gpus_are_enrolled_anew_at_once_by_the_same_account_alone(venue: Venue):
    old, new, thief = machine(60, 60), machine(61, 60), machine(62, 60)
    await enrolled(venue, old)
    ops, eve = await client_of(venue, "ops"), await client_of(venue, "eve")
    refused = await enrol(venue, new)
    assert (refused.status_code, refused.json()["code"]) == (409, "gpu_enrolled_elsewhere")
    assert f"with your node {old.node_id}: retire that one" in refused.json()["detail"]
    assert await code(eve.post(f"/v1/nodes/{old.node_id}/retire", json={})) == (403, "not_this_node")
    assert await code(ops.post("/v1/nodes/node-none/retire", json={})) == (404, "unknown_node")
    for _ in range(2):
        retired = await ops.post(f"/v1/nodes/{old.node_id}/retire", json={})
        assert (retired.status_code, retired.json()["state"], retired.json()["gpus"]) == (200, "retired", [])
    assert (await enrol(venue, thief, "eve")).json()["code"] == "gpu_enrolled_elsewhere"
    report = old.report("0" * 64, 0, 1)
    answer = venue.http.post(f"/v1/nodes/{old.node_id}/reports", content=report.canonical())
    assert await code(answer) == (403, "node_retired")
    assert (await enrol(venue, old)).json()["code"] == "node_retired"
    agent = await enrolled(venue, new)
    await agent.http.post(f"/v1/nodes/{new.node_id}/reports", content=agent.make_report().canonical())
    await venue.wait_for(lambda: venue.is_alive(new.node_id))


async def test_a_retired_nodes_gpus_go_to_the_account_that_is_named(venue: Venue):
    old, new = machine(63, 63), machine(64, 63)
    await enrolled(venue, old)
    ops = await client_of(venue, "ops")
    await ops.post(f"/v1/nodes/{old.node_id}/retire", json={"release_to": "west"})
    assert (await enrol(venue, machine(65, 63))).json()["code"] == "gpu_enrolled_elsewhere"
    assert (await enrol(venue, new, "west")).status_code == 201


async def test_o05_a_lost_disk_needs_no_retiring_once_the_old_node_was_silent_for_long(venue: Venue):
    old, new, other = machine(66, 66), machine(67, 66), machine(68, 66)
    await enrolled(venue, old)
    connection = await asyncpg.connect(venue.settings.database_url)
    try:
        longer_ago = "update delivery.node set enrolled_ms = 0, last_live_ms = 1 where node_id = $1"
        await connection.execute(longer_ago, old.node_id)
        assert (await enrol(venue, other, "eve")).json()["code"] == "gpu_enrolled_elsewhere"
        assert (await enrol(venue, old)).status_code == 200, "its own key finds the node again"
        assert (await enrol(venue, new)).status_code == 201
    finally:
        await connection.close()
    assert (await venue.node(old.node_id))["state"] == "retired"


async def test_a_quarantined_node_does_not_move(venue: Venue):
    old, new = machine(69, 69), machine(70, 69)
    agent = await enrolled(venue, old)
    first = agent.make_report()
    await venue.http.post(f"/v1/nodes/{old.node_id}/reports", content=first.canonical())
    forked = machine(69, 69).report(first.server_nonce, 0, 1)
    await venue.http.post(f"/v1/nodes/{old.node_id}/reports", content=forked.canonical())
    ops = await client_of(venue, "ops")
    assert await code(ops.post(f"/v1/nodes/{old.node_id}/retire", json={})) == (403, "node_barred")
    changed = venue.http.post(f"/v1/nodes/{old.node_id}/gpus", content=change(old, gpu_uuid(999)))
    assert await code(changed) == (403, "node_barred")
    connection = await asyncpg.connect(venue.settings.database_url)
    try:
        await connection.execute("update delivery.node set enrolled_ms = 0 where node_id = $1", old.node_id)
    finally:
        await connection.close()
    refused = (await enrol(venue, new)).json()
    assert refused["code"] == "gpu_enrolled_elsewhere" and "quarantined and waits for a review" in refused["detail"]


async def test_a25_a_replaced_gpu_is_told_by_the_nodes_key_and_the_old_one_is_free_for_its_account(venue: Venue):
    node = machine(71, 71)
    agent = await enrolled(venue, node)
    await agent.http.post(f"/v1/nodes/{node.node_id}/reports", content=agent.make_report().canonical())
    await venue.wait_for(lambda: venue.is_alive(node.node_id))
    kept, broken = node.gpus
    fresh, path = gpu_uuid(1071), f"/v1/nodes/{node.node_id}/gpus"
    for expected in (([fresh], [broken]), ([], [])):
        answer = (await venue.http.post(path, content=change(node, kept, fresh))).json()
        assert (answer["gpus"], (answer["added"], answer["removed"])) == (sorted([kept, fresh]), expected)
    facts = await venue.node(node.node_id)
    assert facts["gpus"] == sorted([kept, fresh])
    elsewhere = TestNode(seed=72, gpus=(broken, gpu_uuid(1072)))
    assert (await enrol(venue, TestNode(seed=73, gpus=(broken,)), "eve")).json()["code"] == "gpu_enrolled_elsewhere"
    assert (await enrol(venue, elsewhere)).status_code == 201

    node.gpus = (kept, fresh)
    for _ in range(3):
        answer = await venue.http.post(f"/v1/nodes/{node.node_id}/reports", content=agent.make_report().canonical())
        if "next_nonce" in answer.json():
            agent.nonce, agent.nonce_used = answer.json()["next_nonce"], False


async def test_only_plausible_gpus_of_nobody_else_come_into_a_node_and_only_by_its_key(venue: Venue):
    node, other = machine(74, 74), machine(75, 75)
    await enrolled(venue, node)
    await enrolled(venue, other)
    path = f"/v1/nodes/{node.node_id}/gpus"
    foreign = TestNode(seed=75, gpus=node.gpus)
    assert await code(venue.http.post(path, content=change(node, node.gpus[0], other.gpus[0]))) == (
        409,
        "gpu_enrolled_elsewhere",
    )
    by_another = change(foreign, *node.gpus, agent=node.node_id)
    assert await code(venue.http.post(path, content=by_another)) == (401, "bad_node_signature")
    assert await code(venue.http.post(path, content=change(other, *node.gpus))) == (403, "not_this_node")
    twice = (node.inventory(node.gpus[0], 0), node.inventory(node.gpus[0], 1))
    assert await code(venue.http.post(path, content=change(node, gpus=twice))) == (422, "implausible_node")
    real = change(node, *node.gpus, nvml_simulated=False)
    assert await code(venue.http.post(path, content=real)) == (422, "implausible_node")
