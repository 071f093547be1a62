"""From enrolment to receipt on real servers: what is sold is proven, leased, metered and settled, whatever restarts."""

import asyncio
from contextlib import AsyncExitStack
from hashlib import sha256

from schemas.delivery import MeterInputs, MeterOutcome
from schemas.nodes import NodeReported, Report, signing_bytes
from services.delivery.meter import measure
from services.kit.keys import signature_holds
from tests.fixtures.delivery import TestNode, gpu_uuid
from tests.integration.delivery.conftest import PERIOD_S, PRICE_MICROS, Venue

FOUR = tuple(gpu_uuid(number) for number in range(1, 5))
TWO = tuple(gpu_uuid(number) for number in range(5, 7))


async def test_a_block_is_delivered_whole_by_one_lease_and_its_receipts_can_be_recomputed(venue: Venue):
    alice, ops = await venue.join("alice", "read", "trade"), await venue.join("ops", "read", "operate")
    node = TestNode(seed=1, gpus=FOUR)
    async with venue.site("ops", node) as agent:
        contracts = venue.contracts(2)
        await venue.offer("ops", node, contracts, 4)
        await venue.buy_block("alice", contracts, 3)

        async def access() -> dict | None:
            answer = await alice.get("/v1/positions/1/access")
            return answer.json() if answer.status_code == 200 and answer.json()["state"] == "started" else None

        opened = await venue.wait_for(access, 40)
        assert (opened["endpoint"], opened["credential"]) == (f"ssh://{node.node_id}.test:22", "secret-of-lease-1")
        assert (await ops.get("/v1/positions/1/access")).status_code == 403
        settled = await venue.settled(2)
        await venue.wait_for(lambda: has_receipts(alice, 2))
        assert set(agent.refusals) <= {"report_nonce_stale"}
    assert [event.delivered_gpu_s for event in settled] == [3 * PERIOD_S] * 2
    receipts = (await alice.get("/v1/receipts")).json()["items"]
    assert receipts == (await ops.get("/v1/receipts")).json()["items"]
    assert [(each["position_id"], each["contracted_gpu_s"], each["delivered_gpu_s"]) for each in receipts] == [
        (2, 3 * PERIOD_S, 3 * PERIOD_S),
        (1, 3 * PERIOD_S, 3 * PERIOD_S),
    ]
    assert receipts[0]["paid_micros"] == PRICE_MICROS * 3 * PERIOD_S // 3600
    await recompute(venue, alice, node, settled[0])
    told = await venue.delivery_events()
    assert [event.seq for event in told] == list(range(1, len(told) + 1))
    assert [event.type for event in told if event.type.startswith("lease")] == ["lease_started", "lease_ended"]
    assert opened["gpus"] == receipts[0]["gpus"] == receipts[1]["gpus"]


async def has_receipts(client, count: int) -> bool:
    return len((await client.get("/v1/receipts")).json()["items"]) == count


async def recompute(venue: Venue, client, node: TestNode, settled) -> None:
    """Checks a bill as its buyer can: digest, signatures, hashes, and the meter itself."""
    record = (await client.get(f"/v1/positions/{settled.position_id}/meter")).json()
    reports = (await client.get(f"/v1/positions/{settled.position_id}/meter/reports")).json()
    inputs = MeterInputs.model_validate(record["inputs"], strict=False)
    assert sha256(inputs.canonical()).hexdigest() == record["meter_digest"] == settled.meter_digest
    signed = [Report.model_validate(each, strict=False) for each in reports]
    assert all(signature_holds(node.public_key, report.signature, signing_bytes(report)) for report in signed)
    taken = [
        NodeReported(
            node_id=node.node_id,
            received_ms=cited.received_ms,
            nonce_issued_ms=cited.nonce_issued_ms,
            report=report,
        )
        for cited, report in zip(inputs.reports, signed, strict=True)
    ]
    assert measure(inputs, taken) == MeterOutcome.model_validate(record["outcome"], strict=False)


async def test_a_gpu_lost_in_mid_delivery_shortens_one_position_and_leaves_the_market(venue: Venue):
    await venue.join("alice", "read", "trade")
    await venue.join("ops", "read", "operate")
    node, lost = TestNode(seed=1, gpus=FOUR), set()
    async with venue.site("ops", node) as agent:
        agent.facts = lambda uuid: {"present": False, "healthy": False} if uuid in lost else {}
        contracts = venue.contracts(1)
        await venue.offer("ops", node, contracts, 4)
        await venue.buy("alice", contracts[0], 4)
        await venue.sleep_until(await venue.leased(agent) + PERIOD_S / 2)
        lost.add(FOUR[2])
        (settled,) = await venue.settled(1)
        facts = await venue.node(node.node_id)
    assert 3 * PERIOD_S + PERIOD_S // 6 <= settled.delivered_gpu_s <= 3 * PERIOD_S + PERIOD_S // 2 + 1
    assert (facts["state"], facts["reason"]) == ("active", "gpu_lost")
    assert facts["fit_gpus"] == [uuid for uuid in FOUR if uuid != FOUR[2]]
    registered = await venue.events("node_registered")
    assert [len(event.gpus) for event in registered] == [4, 3]


async def test_a_restart_of_delivery_in_mid_delivery_loses_no_second(quiet_venue: Venue):
    venue, node = quiet_venue, TestNode(seed=1, gpus=TWO)
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
            (settled,) = await venue.settled(1)
    assert settled.delivered_gpu_s == 2 * PERIOD_S


async def test_a_start_hook_that_fails_leaves_the_position_undelivered_and_the_buyer_pays_nothing(venue: Venue):
    alice = await venue.join("alice", "read", "trade")
    await venue.join("ops", "read", "operate")
    node = TestNode(seed=1, gpus=TWO)
    async with venue.site("ops", node) as agent:
        agent.opens = False
        contracts = venue.contracts(1)
        await venue.offer("ops", node, contracts, 2)
        await venue.buy("alice", contracts[0], 2)
        (settled,) = await venue.settled(1)
        await venue.wait_for(lambda: has_receipts(alice, 1))
    receipt = (await alice.get("/v1/receipts/1")).json()
    assert (settled.delivered_gpu_s, receipt["paid_micros"]) == (0, 0)
    assert receipt["refunded_micros"] == 2 * -(-PRICE_MICROS * PERIOD_S // 3600)
    assert receipt["damages_micros"] > 0


async def test_a_node_that_does_not_answer_at_the_gate_fails_its_lease_and_must_prove_itself_anew(venue: Venue):
    await venue.join("alice", "read", "trade")
    await venue.join("ops", "read", "operate")
    node = TestNode(seed=1, gpus=TWO)
    async with venue.site("ops", node) as agent:
        agent.works = False
        contracts = venue.contracts(1)
        await venue.offer("ops", node, contracts, 2)
        await venue.buy("alice", contracts[0], 2)
        (settled,) = await venue.settled(1)
        assert (await venue.node(node.node_id))["reason"] == "gate_challenge_missed"
        agent.works = True

        async def is_back() -> bool:
            return (await venue.node(node.node_id))["state"] == "active"

        await venue.wait_for(is_back)
    assert settled.delivered_gpu_s == 0
    told = [(event.type, getattr(event, "reason", "")) for event in await venue.delivery_events()]
    assert ("lease_ended", "challenge_too_late") in told
