"""Nodes of the stand-in library, on a venue that takes them and then no more."""

import asyncio
from contextlib import suppress

from tests.fixtures.delivery import TestNode
from tests.fixtures.node_agent import PlayedAgent
from tests.integration.delivery.conftest import Venue


async def test_simulated_nodes_are_barred_when_the_venue_takes_them_no_more(quiet_venue: Venue):
    node = TestNode()
    async with quiet_venue.delivery():
        agent = PlayedAgent(node, quiet_venue.http)
        await agent.enrol(await quiet_venue.token("ops", "token-207"))
        task = asyncio.create_task(agent.run())
        await quiet_venue.wait_for(lambda: quiet_venue.is_alive(node.node_id))
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    quiet_venue.settings = quiet_venue.settings.model_copy(update={"accept_simulated_nvml": False})
    async with quiet_venue.delivery():

        async def is_barred() -> bool:
            facts = await quiet_venue.node(node.node_id)
            return (facts["state"], facts["level"], facts["reason"]) == ("quarantined", "T0", "simulated_nvml")

        await quiet_venue.wait_for(is_barred)

        async def is_down() -> bool:
            events = await quiet_venue.events("node_liveness_changed")
            return (events[-1].alive, events[-1].reason) == (False, "simulated_nvml")

        await quiet_venue.wait_for(is_down)
        other = TestNode(seed=2).enrolment(await quiet_venue.token("ops", "token-208"))
        answer = await quiet_venue.http.post("/v1/nodes", content=other.canonical())
        assert (answer.status_code, answer.json()["code"]) == (422, "implausible_node")
