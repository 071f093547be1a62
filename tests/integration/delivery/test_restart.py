"""Delivery stops in the middle of a lease and starts again: what agents kept meanwhile counts."""

import asyncio
from contextlib import AsyncExitStack

from tests.fixtures.delivery import TestNode
from tests.integration.delivery.conftest import PERIOD_S, Venue


async def test_a_restart_of_delivery_in_mid_delivery_loses_no_second(quiet_venue: Venue):
    venue, node = quiet_venue, TestNode()
    async with AsyncExitStack() as stack:
        async with venue.delivery():
            await venue.join("alice", "read", "trade")
            await venue.join("ops", "read", "operate")
            agent = await stack.enter_async_context(venue.site("ops", node))
            contracts = venue.contracts(1)
            await venue.offer("ops", node, contracts, 2)
            await venue.buy("alice", contracts[0], 2)
            await venue.sleep_until(await venue.leased(agent) + PERIOD_S / 3)
        await asyncio.sleep(PERIOD_S / 2)
        assert agent.waiting
        async with venue.delivery():
            (settled,) = await venue.settled("alice", 1)
    assert settled.delivered_gpu_s == 2 * PERIOD_S
