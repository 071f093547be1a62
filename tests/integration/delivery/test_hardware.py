"""Hardware that is for sale serves nobody; sold, it leaves its node, and its new owner alone may enrol it."""

import pytest

from schemas.venue import LockHardware, OpenEscrow, ReleaseEscrow, UnlockHardware
from tests.fixtures.delivery import TestNode, gpu_uuid
from tests.integration.delivery.conftest import Venue
from tests.integration.delivery.test_passports import ask

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_sold_gpu_leaves_its_node_and_only_its_buyer_may_enrol_it(venue: Venue):
    await venue.join("seller", "read", "operate")
    await venue.join("lab", "read", "operate")
    old = TestNode(seed=1, gpus=(gpu_uuid(1), gpu_uuid(2)))
    async with venue.site("seller", old):
        escrow = OpenEscrow(
            escrow_id="e-1",
            listing_id="l-1",
            buyer="lab",
            seller="seller",
            asset="CNY",
            amount_micros=1_000_000,
            fee_micros=0,
        )
        lock = LockHardware(listing_id="l-1", account="seller", gpus=(gpu_uuid(1),))
        await venue.log.send("listings", lock, escrow, ReleaseEscrow(escrow_id="e-1"))

        async def registered() -> list[tuple[str, ...]] | None:
            events = [event for event in await venue.events("node_registered") if event.node == old.node_id]
            return [tuple(gpu.uuid for gpu in event.gpus) for event in events] if len(events) == 2 else None

        assert await venue.wait_for(registered) == [(gpu_uuid(1), gpu_uuid(2)), (gpu_uuid(2),)]
        stranger, new = (TestNode(seed=seed, gpus=(gpu_uuid(1),)) for seed in (2, 3))
        refused = stranger.enrolment(await venue.token("seller", "t-2"))
        assert (await venue.http.post("/v1/nodes", content=refused.canonical())).status_code == 409
        async with venue.site("lab", new):
            facts = await venue.node(new.node_id)
    assert (facts["account"], facts["state"], facts["fit_gpus"]) == ("lab", "active", [gpu_uuid(1)])
    assert (await venue.node(old.node_id))["gpus"] == [gpu_uuid(2)]
    assert await venue.events("command_rejected") == []


@pytest.mark.slow
async def test_a_listed_gpu_that_was_lost_keeps_its_node_from_nothing_and_is_rented_out_after_the_sale(venue: Venue):
    await venue.join("vendor", "read", "operate")
    listed, other = gpu_uuid(101), gpu_uuid(102)
    node, lost = TestNode(seed=101, gpus=(listed, other)), set()
    refused = len(await venue.events("command_rejected"))
    async with venue.site("vendor", node) as agent:
        agent.facts = lambda uuid: {"present": uuid not in lost}

        async def is_listed() -> bool:
            return await ask(venue, "select listing_id from node_gpu where uuid = $1", listed) == "l-101"

        async def registered(*wanted: str) -> None:
            async def told() -> bool:
                events = [event for event in await venue.events("node_registered") if event.node == node.node_id]
                return tuple(gpu.uuid for gpu in events[-1].gpus) == wanted

            await venue.wait_for(told)

        async def fit(*wanted: str) -> None:
            async def shown() -> bool:
                facts = await venue.node(node.node_id)
                return (facts["state"], facts["fit_gpus"]) == ("active", list(wanted))

            await venue.wait_for(shown)

        await registered(listed, other)
        await venue.log.send("listings", LockHardware(listing_id="l-101", account="vendor", gpus=(listed,)))
        await venue.wait_for(is_listed)
        lost.add(listed)
        await registered(other)
        lost.clear()
        await fit(listed, other)
        lost.add(other)
        await venue.wait_for(lambda: is_lost(venue, node))
        lost.clear()
        await fit(listed, other)
        await registered(other)
        await venue.log.send("listings", UnlockHardware(listing_id="l-101"))
        await registered(listed, other)
    assert len(await venue.events("command_rejected")) == refused


async def is_lost(venue: Venue, node: TestNode) -> bool:
    return (await venue.node(node.node_id))["state"] == "lost"


async def test_a_gpu_whose_node_was_retired_during_the_sale_is_enrolled_anew_after_it(venue: Venue):
    client = await venue.join("mover", "read", "operate")
    node, new = (TestNode(seed=seed, gpus=(gpu_uuid(103),)) for seed in (103, 104))

    async def answers(status: int, path: str, content: bytes) -> bool:
        answer = await client.post(path, content=content, headers={"Content-Type": "application/json"})
        return answer.status_code == status

    async def is_listed() -> bool:
        return await ask(venue, "select listing_id from node_gpu where uuid = $1", gpu_uuid(103)) == "l-103"

    async with venue.site("mover", node):
        await venue.log.send("listings", LockHardware(listing_id="l-103", account="mover", gpus=(gpu_uuid(103),)))
        await venue.wait_for(is_listed)
    await venue.wait_for(lambda: answers(200, f"/v1/nodes/{node.node_id}/retire", b"{}"))
    request = new.enrolment(await venue.token("mover", "t-104")).canonical()
    assert await answers(409, "/v1/nodes", request)
    await venue.log.send("listings", UnlockHardware(listing_id="l-103"))
    await venue.wait_for(lambda: answers(201, "/v1/nodes", request))
