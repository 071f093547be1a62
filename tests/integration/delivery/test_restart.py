"""Delivery stops in the middle of a lease and starts again: what agents kept counts, nobody pays for our absence."""

from contextlib import AsyncExitStack

import pytest

from schemas.delivery import VenueOutage
from tests.fixtures.delivery import TestNode, gpu_uuid
from tests.integration.delivery.conftest import PERIOD_S, Venue


@pytest.mark.slow
async def test_a_restart_of_delivery_in_mid_delivery_loses_no_second_and_charges_none(quiet_venue: Venue):  # A18
    """Two sites: one keeps its reports while we are away for longer than the gap limit, the other measures nothing."""
    venue, keeper, sleeper = quiet_venue, TestNode(), TestNode(seed=2, gpus=(gpu_uuid(3), gpu_uuid(4)))
    async with AsyncExitStack() as stack:
        async with venue.delivery():
            await venue.join("alice", "read", "trade")
            await venue.join("ops", "read", "operate")
            agents = [await stack.enter_async_context(venue.site("ops", node)) for node in (keeper, sleeper)]
            contracts = venue.contracts(1, ahead_s=12)
            for node in (keeper, sleeper):
                await venue.offer("ops", node, contracts, 2)
                await venue.buy("alice", contracts[0], 2)
            start_s = max([await venue.leased(agent) for agent in agents])
            await venue.sleep_until(start_s + 1)
        agents[1].runs.clear()
        await venue.sleep_until(start_s + PERIOD_S - 0.5)
        assert agents[0].waiting
        agents[1].runs.set()
        async with venue.delivery():
            settled = await venue.settled("alice", 2)
            outages = [event for event in await venue.delivery_events() if isinstance(event, VenueOutage)]
    by_node = {event.node: event for event in settled}
    kept, slept = by_node[keeper.node_id], by_node[sleeper.node_id]
    assert (kept.delivered_gpu_s, kept.excused_gpu_s, kept.damages_micros) == (2 * PERIOD_S, 0, 0)
    assert slept.delivered_gpu_s + slept.excused_gpu_s == 2 * PERIOD_S
    assert (slept.excused_gpu_s > 0, slept.damages_micros) == (True, 0)
    assert any(outage.from_ms < (start_s + 3) * 1000 < outage.to_ms for outage in outages)
