"""Pay that is held and pay that a failed proof takes back, over real servers: leases, settlements, corrections.

Tier: CI, a minute and a half, nearly all of it waiting for hours to end and to become final.
"""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from clients.receipts import faults_of
from schemas.receipts import ReceiptFile
from services.delivery.rebuilding import take_event
from services.delivery.store import open_pool, transaction
from services.delivery.sweeps import suspect
from tests.fakes.cheats import WrongRows
from tests.fixtures.delivery import TestNode
from tests.fixtures.node_agent import PlayedAgent
from tests.integration.delivery.conftest import PERIOD_S, Venue
from tests.integration.delivery.test_evidence import LATER, real_node
from tests.integration.delivery.test_two_meters import disputed, revised

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]
# An H100 that is proven over 2 MiB, so that a busy machine's CPU answers within a gate.
SETTINGS = {
    "bands_file": Path(__file__).parents[2] / "fixtures" / "small_bands.csv",
    "challenge_n": 256,
    "challenge_memory_permille": 1,
    "challenge_deadline_ms": 12_000,
    "correction_delay_ms": 500,
    "proof_layers_off": "score,residency,simultaneity,idle",
    "sweep_interval_s": 0.2,
}
TERMS = {"final_after_s": 50, "gate_lead_s": 15}
BUYER = "claw-buyer"


class Sold:
    """One GPU of one node, sold for one hour and settled whole."""

    def __init__(self, venue: Venue, agent: PlayedAgent, position_id: int):
        self.venue, self.agent, self.position_id = venue, agent, position_id

    async def is_asked_to_prove(self, **changes: object) -> None:
        """Puts the node under suspicion, which answers as the changes say."""
        for name, value in changes.items():
            setattr(self.agent, name, value)
        pool = await open_pool(self.venue.settings)
        async with transaction(pool) as store:
            await suspect(store, await store.node(self.agent.node.node_id), "somebody asked")
        await pool.close()

    async def stands(self, state: str, reason: str) -> None:
        async def is_so() -> bool:
            view = await self.venue.node(self.agent.node.node_id)
            return (view["state"], view["reason"]) == (state, reason)

        await self.venue.wait_for(is_so)

    async def is_final(self) -> bool:
        return any(event.position_id == self.position_id for event in await self.venue.events("position_finalized"))


async def sold(venue: Venue, agents: dict[str, PlayedAgent]) -> dict[str, Sold]:
    """Sells one GPU of each operator's node for the same hour, and waits until all are settled."""
    (contract,) = venue.contracts(1, ahead_s=21)
    for count, (operator, agent) in enumerate(agents.items(), start=1):
        await venue.offer(operator, agent.node, [contract], 1)
        await venue.buy(BUYER, contract, 1)

        async def traded(count: int = count) -> list | None:
            found = [event for event in await venue.events("trade") if event.buyer == BUYER]
            return found if len(found) == count else None

        await venue.wait_for(traded)
    settled = await venue.settled(BUYER, len(agents))
    assert all(event.delivered_gpu_s > PERIOD_S // 2 for event in settled)
    by_operator = {event.operator: event.position_id for event in settled}
    return {operator: Sold(venue, agent, by_operator[operator]) for operator, agent in agents.items()}


async def amounts(venue: Venue, client: httpx.AsyncClient, position_id: int, count: int) -> list[tuple]:
    """Waits for a number of revisions; returns what each says was delivered, paid, and of damages."""
    found = await revised(venue, client, position_id, count)
    return [(each["delivered_gpu_s"], each["paid_micros"], each["damages_micros"] > 0) for each in found]


async def test_a_failed_proof_takes_back_what_is_not_final_and_a_doubt_takes_nothing(venue: Venue):
    buyer = await venue.join(BUYER, "read", "trade")
    names = ("claw-cheat", "claw-late", "claw-final", "claw-t0")
    operators = {name: await venue.join(name, "read", "operate") for name in names}
    admin, judge = await venue.join("claw-admin", "admin"), await venue.join("claw-judge", "read", "arbiter")
    nodes = dict(zip(names, [real_node(seed) for seed in (501, 502, 503)], strict=False))
    nodes["claw-t0"] = real_node(504, "570.86.15", LATER)
    async with AsyncExitStack() as sites:
        agents = {name: await sites.enter_async_context(venue.site(name, node)) for name, node in nodes.items()}
        hours = await sold(venue, agents)
        cheat, late, final = (hours[name] for name in names[:3])
        first = {each: (await amounts(venue, buyer, each.position_id, 1))[0] for each in (cheat, late, final)}
        await check_held_payout(venue, operators["claw-t0"], hours["claw-t0"].position_id, nodes["claw-t0"])

        await cheat.is_asked_to_prove(backend=WrongRows(honest_rows=120))
        await cheat.stands("quarantined", "challenge_row_differs")
        assert await amounts(venue, buyer, cheat.position_id, 2) == [first[cheat], (0, 0, True)]
        receipt = ReceiptFile.model_validate_json((await buyer.get(f"/v1/receipts/{cheat.position_id}/file")).content)
        assert faults_of(receipt, (await buyer.get("/v1/receipts/key")).json()["public_key"]) == []
        assert [time.gpu for time in receipt.meter.disproven] == list(cheat.agent.node.gpus)

        await late.is_asked_to_prove(works=False)
        await late.stands("enrolled", "challenge_too_late")

        # What it proves from now on says nothing of that hour; a person who found otherwise does.
        cheat.agent.backend = agents["claw-late"].backend
        form = {"decision": "release", "reason": "looked_at_it"}
        assert (await admin.post(f"/v1/nodes/{cheat.agent.node.node_id}/review", json=form)).status_code == 200
        await cheat.stands("active", "challenge_passed")
        dispute = await disputed(operators["claw-cheat"], cheat.position_id, "claw")
        assert dispute.status_code == 201
        found = {"inputs": {"disproven": []}, "reason": "our_verifier_was_wrong"}
        answer = await judge.post(f"/v1/disputes/{dispute.json()['dispute_id']}/decision", json=found)
        assert (answer.status_code, answer.json()["outcome"], answer.json()["revision"]) == (200, "corrected", 3)
        assert (await amounts(venue, buyer, cheat.position_id, 3))[1:] == [(0, 0, True), first[cheat]]

        await venue.wait_for(final.is_final, 60)
        await final.is_asked_to_prove(backend=WrongRows(honest_rows=120))
        await final.stands("quarantined", "challenge_row_differs")
        await asyncio.sleep(3)
    for each in (late, final):
        assert await amounts(venue, buyer, each.position_id, 1) == [first[each]]
    told = [event for event in await venue.delivery_events() if event.type == "delivery_disproven"]
    assert [event.node for event in told] == [cheat.agent.node.node_id, final.agent.node.node_id]
    await check_rebuilt(venue, told)


async def check_held_payout(venue: Venue, operator: httpx.AsyncClient, position_id: int, node: TestNode) -> None:
    """A node of level T0, whose driver nobody knows, has served: what it earned is held, as its receipt says."""
    view = await venue.node(node.node_id)
    assert (view["state"], view["level"]) == ("active", "T0")
    (held,) = [event for event in await venue.events("payout_held") if event.position_id == position_id]
    (settled,) = [event for event in await venue.events("position_settled") if event.position_id == position_id]
    moved = {posting.account: (posting.available_delta, posting.held_delta) for posting in settled.postings}
    assert moved["claw-t0"] == (0, settled.operator_micros)

    async def is_said() -> dict | None:
        (receipt,) = await revised(venue, operator, position_id, 1)
        return receipt if "payout_held_micros" in receipt else None

    receipt = await venue.wait_for(is_said)
    assert (receipt["payout_held_micros"], receipt["payout_held_until_ms"]) == (held.held_micros, held.until_ms)
    assert held.held_micros == settled.operator_micros > 0


async def check_rebuilt(venue: Venue, told: list) -> None:
    """What was taken down comes again from `delivery.events`."""
    pool = await open_pool(venue.settings)
    async with transaction(pool) as store:
        rows = "select * from disproven order by challenge_id, gpu_uuid"
        before = await store.connection.fetch(rows)
        await store.connection.execute("delete from disproven")
        for event in told:
            await take_event(store, event)
        assert await store.connection.fetch(rows) == before
    await pool.close()
