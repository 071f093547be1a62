"""A node rises by what it delivered and falls by what it did not; asks that come later hold the new level's bond.

Tier: delivery. Two minutes beside the module's venue.
"""

import pytest

from tests.fixtures.delivery import TestNode, gpu_uuid
from tests.integration.delivery.conftest import PERIOD_S, PRICE_MICROS, Venue

pytestmark = pytest.mark.asyncio(loop_scope="module")

# A day of one period, so that a month of hours passes while one is sold.
SETTINGS = {
    "level_day_periods": 1,
    "level_t2_days": 1,
    "level_t3_days": 2,
    "level_positions_min": 1,
    "level_two_sided_min": 0,
    "level_interval_s": 0.2,
}


async def level_of(venue: Venue, node: TestNode) -> str:
    return (await venue.node(node.node_id))["level"]


async def sell(venue: Venue, node: TestNode, buyer: str) -> str:
    """Sells the node's GPU for one period that is to come."""
    (contract,) = venue.contracts(1)
    await venue.offer("ops-levels", node, [contract], 1)
    await venue.buy(buyer, contract, 1)
    return contract


async def bond_of(venue: Venue, contract: str) -> int:
    """What the operator's bond of a contract's position was."""
    traded = [event for event in await venue.events("trade") if event.contract == contract]
    return traded[-1].bond_micros


@pytest.mark.slow
async def test_a_node_rises_with_what_it_delivered_and_falls_at_once_when_it_does_not(venue: Venue):
    node = TestNode(seed=201, gpus=(gpu_uuid(201),))
    await venue.join("buyer-levels")
    admin = await venue.join("audit-levels", "admin")
    await venue.join("ops-levels")
    async with venue.site("ops-levels", node) as agent:
        assert await level_of(venue, node) == "T1"
        first = await sell(venue, node, "buyer-levels")
        await venue.leased(agent)
        await venue.settled("buyer-levels", 1)

        async def is_t2() -> bool:
            return await level_of(venue, node) == "T2"

        await venue.wait_for(is_t2)
        audit = {"reason": "visited", "valid_until_ms": 4_000_000_000_000}
        seen = (await admin.post(f"/v1/nodes/{node.node_id}/audits", json=audit)).json()
        assert (seen["audited_until_ms"], seen["node"]) == (audit["valid_until_ms"], node.node_id)

        async def is_t3() -> bool:
            return await level_of(venue, node) == "T3"

        await venue.wait_for(is_t3)
        agent.opens = False  # the buyer of this hour never gets in
        second = await sell(venue, node, "buyer-levels")
        await venue.settled("buyer-levels", 2)

        async def is_t1() -> bool:
            return await level_of(venue, node) == "T1"

        await venue.wait_for(is_t1)
        agent.opens = True
        third = await sell(venue, node, "buyer-levels")

        async def is_sold() -> bool:
            return any(event.contract == third for event in await venue.events("trade"))

        await venue.wait_for(is_sold)
    registered = [event.level for event in await venue.events("node_registered") if event.node == node.node_id]
    assert registered == ["T1", "T2", "T3", "T1"]
    bonds = [await bond_of(venue, contract) for contract in (first, second, third)]
    assert bonds == [-(-permille * PRICE_MICROS * PERIOD_S // 3_600_000) for permille in (500, 100, 500)]
    facts = [event for event in await venue.delivery_events() if event.type == "position_metered"]
    own = [(event.delivered_gpu_s, event.contracted_gpu_s) for event in facts if event.node == node.node_id]
    assert own == [(6, 6), (0, 6)]
    record = (await venue.http.get(f"/v1/nodes/{node.node_id}/reputation")).json()
    facts = ("account", "node", "nodes", "positions", "owed_gpu_s", "delivered_gpu_s", "outages", "two_sided")
    assert [record[name] for name in facts] == ["ops-levels", node.node_id, 1, 2, 12, 6, 1, 0]
    assert (record["proofs_failed"], record["disputes_lost"], record["suspicions"]) == (0, 0, 0)
    assert record["proofs_passed"] >= 1
    days = record["days"]
    assert (days > 0, record["score"]) == (True, 1000 * 6 * days // (12 * (days + 30)))
    whole = (await venue.http.get("/v1/operators/ops-levels/reputation")).json()
    moving = ("node", "as_of_ms", "days", "score")
    assert {name: whole[name] for name in whole if name not in moving} == {
        name: record[name] for name in record if name not in moving
    }
    nobody = await venue.http.get("/v1/operators/nobody/reputation")
    assert (nobody.status_code, nobody.json()["detail"]) == (404, "nobody has no nodes")
