"""Hardware that is for sale serves nobody; sold, it leaves its node, and its new owner alone may enrol it."""

import pytest

from schemas.venue import LockHardware, OpenEscrow, ReleaseEscrow
from tests.fixtures.delivery import TestNode, gpu_uuid
from tests.integration.delivery.conftest import Venue

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
        refused = stranger.enrolment(venue.token("seller", "t-2"))
        assert (await venue.http.post("/v1/nodes", content=refused.canonical())).status_code == 409
        async with venue.site("lab", new):
            facts = await venue.node(new.node_id)
    assert (facts["account"], facts["state"], facts["fit_gpus"]) == ("lab", "active", [gpu_uuid(1)])
    assert (await venue.node(old.node_id))["gpus"] == [gpu_uuid(2)]
    assert await venue.events("command_rejected") == []
