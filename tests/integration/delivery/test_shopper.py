"""The secret shopper over real servers: nodes that are good at every exam, and what a buyer finds inside his lease.

Tier: CI, three quarters of a minute, nearly all of it waiting for one hour.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack

import httpx
import pytest

from agents.node.challenge import Backend, NumpyBackend
from agents.node.client import DeliveryClient
from agents.node.errors import VenueRefused
from agents.node.proving import Prover
from agents.node.renter_proof import prove_inside
from schemas.ids import contract_start_s
from schemas.nodes import ChallengeVerdict
from tests.fakes.cheats import WrongRows
from tests.fixtures.node_agent import PlayedAgent
from tests.fixtures.renter import Renter, RenterGpus
from tests.integration.delivery.conftest import PERIOD_S, Venue
from tests.integration.delivery.test_claw_back import SETTINGS as SMALL_PROOFS
from tests.integration.delivery.test_claw_back import Sold
from tests.integration.delivery.test_evidence import real_node

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]
TERMS = {"gate_lead_s": 15, "period_s": 12}
SETTINGS = SMALL_PROOFS | {"shopper_accounts": "passer-by, mystery", "renter_proofs_max": 2}
# What the operators' programs hand their buyers instead of what they are examined on.
ANOTHER_GPU = WrongRows(honest_rows=120)
NODES = {"shop-cheat": real_node(601), "shop-honest": real_node(602), "shop-unseen": real_node(603)}
BUYERS = {"shop-cheat": "mystery", "shop-honest": "mystery", "shop-unseen": "plain"}


class Inside:
    """A program inside a lease, under the meter key that its buyer has registered."""

    def __init__(self, venue: Venue, lease_id: str, gpus: tuple[str, ...]):
        self.venue, self.lease_id = venue, lease_id
        self.renter = Renter(lease_id, RenterGpus(gpus))

    async def proves(self, backend: Backend) -> ChallengeVerdict | None:
        """Has the GPUs prove themselves as the environment shows them. Raises VenueRefused."""
        identity, gpus = self.renter.identity, frozenset(self.renter.gpus.uuids)
        with ThreadPoolExecutor(1) as executor:
            async with httpx.AsyncClient(timeout=30) as http:
                delivery = DeliveryClient(http, self.venue.url)
                prover = Prover(identity, backend, delivery, executor)
                return await prove_inside(self.lease_id, identity, prover, delivery, gpus)

    async def refusal(self) -> str:
        with pytest.raises(VenueRefused) as refused:
            await self.proves(NumpyBackend())
        return str(refused.value)


async def moved_in(venue: Venue, buyer: httpx.AsyncClient, agent: PlayedAgent) -> Inside:
    """Waits for a lease and its hour, and registers a key for what runs inside."""
    await venue.sleep_until(await venue.leased(agent))
    inside = Inside(venue, next(iter(agent.leases)), agent.node.gpus)
    assert (await inside.renter.register(buyer)).status_code == 201

    async def is_started() -> bool:
        told = [event for event in await venue.delivery_events() if event.type == "lease_started"]
        return any(event.lease_id == inside.lease_id for event in told)

    await venue.wait_for(is_started)
    return inside


async def public_record(venue: Venue, node_id: str) -> tuple:
    """What an operator sees of his node that a proof could have changed."""
    view = await venue.node(node_id)
    record = (await venue.http.get(f"/v1/nodes/{node_id}/reputation")).json()
    told = [event.type for event in await venue.delivery_events() if event.node == node_id]
    proofs = (record["proofs_passed"], record["proofs_failed"], told.count("challenge_passed"))
    return view["state"], view["level"], view["proofs"], proofs


async def test_only_a_shopper_inside_a_lease_catches_who_is_good_at_every_exam(venue: Venue):
    clients = {name: await venue.join(name, "read", "trade") for name in ("mystery", "plain")}
    for name in NODES:
        await venue.join(name, "read", "operate")
    async with AsyncExitStack() as sites:
        agents = {name: await sites.enter_async_context(venue.site(name, node)) for name, node in NODES.items()}
        (contract,) = venue.contracts(1, ahead_s=21)
        for count, (name, agent) in enumerate(agents.items(), start=1):
            await venue.offer(name, agent.node, [contract], 1)
            await venue.buy(BUYERS[name], contract, 1)

            async def traded(count: int = count) -> bool:
                return len(await venue.events("trade")) == count

            await venue.wait_for(traded)
        inside = {name: await moved_in(venue, clients[BUYERS[name]], agent) for name, agent in agents.items()}
        records = {name: await public_record(venue, node.node_id) for name, node in NODES.items()}
        assert {record[0] for record in records.values()} == {"active"}

        honest = await inside["shop-honest"].proves(NumpyBackend())
        unseen = await inside["shop-unseen"].proves(ANOTHER_GPU)
        caught = await inside["shop-cheat"].proves(ANOTHER_GPU)
        reasons = [[gpu.reason for gpu in verdict.gpus] for verdict in (honest, unseen, caught)]
        assert reasons == [[""], ["row_differs"], ["row_differs"]]

        trades = {event.seller: event.position_id for event in await venue.events("trade")}
        cheat = Sold(venue, agents["shop-cheat"], trades["shop-cheat"])
        await cheat.stands("quarantined", "inside_row_differs")
        for name in ("shop-honest", "shop-unseen"):
            assert await public_record(venue, NODES[name].node_id) == records[name]
        settled = {
            event.operator: event for event in [*await venue.settled("mystery", 2), *await venue.settled("plain", 1)]
        }
        # The hour up to the verdict is taken back; what is left is the time in which the agent closed the lease.
        left_s = contract_start_s(contract) + TERMS["period_s"] - caught.judged_ms / 1000
        bill = settled["shop-cheat"]
        assert (bill.delivered_gpu_s <= left_s, bill.damages_micros > 0) == (True, True)
        assert all(settled[name].delivered_gpu_s > PERIOD_S // 2 for name in ("shop-honest", "shop-unseen"))

        # Outside, the one that no shopper has seen goes on passing every exam.
        unseen = Sold(venue, agents["shop-unseen"], trades["shop-unseen"])
        proven = len(unseen.agent.proven)
        await unseen.is_asked_to_prove()

        async def has_passed_again() -> bool:
            return (
                len(unseen.agent.proven) > proven
                and (await public_record(venue, NODES["shop-unseen"].node_id))[3] > records["shop-unseen"][3]
            )

        await venue.wait_for(has_passed_again)
        assert (await venue.node(NODES["shop-unseen"].node_id))["state"] == "active"
        assert "does not run now" in await inside["shop-unseen"].refusal()
