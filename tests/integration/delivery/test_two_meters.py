"""Two meters on real servers: what both saw, what they differ about, disputes to their end, and a block cut short.

Tier: default, a minute and a quarter, nearly all of it waiting for the market's own hours.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httpx
import pytest
import pytest_asyncio

from clients.receipts import faults_of
from schemas.delivery import MeterRecordView
from schemas.disputes import EVIDENCE_CHARACTERS_MAX, NodeDispute
from schemas.ids import contract_start_s
from schemas.receipts import ReceiptFile
from schemas.renter import PlaceRequest, renter_agent
from tests.fixtures.delivery import TestNode, gpu_uuid
from tests.fixtures.node_agent import PlayedAgent
from tests.fixtures.renter import Renter, RenterGpus
from tests.integration.delivery.conftest import PERIOD_S, PRICE_MICROS, Venue

pytestmark = pytest.mark.asyncio(loop_scope="module")
SETTINGS = {"dispute_periods": 2}
TERMS = {"final_after_s": 30}
HOURS, CUT_HOURS = 3, 5
JSON = {"Content-Type": "application/json"}
NODE = TestNode(seed=31, gpus=(gpu_uuid(31 * 16),))
CUT_NODE = TestNode(seed=32, gpus=(gpu_uuid(32 * 16),))
Answer = tuple[int, str]


@dataclass
class Hours:
    """A block that was metered by both sides, hour by hour, and another one that its buyer ended."""

    buyer: httpx.AsyncClient
    ops: httpx.AsyncClient
    judge: httpx.AsyncClient
    positions: list[int] = field(default_factory=list)
    lease_id: str = ""
    refusals: dict[str, Answer] = field(default_factory=dict)
    told_ends_ms: int = 0


@dataclass
class CutShort:
    """What was said to the buyer who ended his block, before the outage, in it, and afterwards."""

    block_id: int
    told_ends_ms: int
    contracts: list[str]
    answers: list[Answer]


def said(answer: httpx.Response) -> Answer:
    return answer.status_code, answer.json().get("code", "")


async def disputed(client: httpx.AsyncClient, position_id: int, key: str, **form: str) -> httpx.Response:
    headers = {"Idempotency-Key": key}
    return await client.post(f"/v1/positions/{position_id}/disputes", json={"reason": "other"} | form, headers=headers)


async def disputed_by_node(venue: Venue, node: TestNode, signer: TestNode, position_id: int) -> httpx.Response:
    message = signer.sign(NodeDispute, agent=node.node_id, position_id=position_id, reason="other")
    return await venue.http.post(f"/v1/nodes/{node.node_id}/disputes", content=message.canonical(), headers=JSON)


async def revisions(client: httpx.AsyncClient, position_id: int) -> list[dict]:
    answer = await client.get(f"/v1/receipts/{position_id}/revisions")
    return answer.json()["items"] if answer.status_code == 200 else []


async def revised(venue: Venue, client: httpx.AsyncClient, position_id: int, count: int) -> list[dict]:
    """Waits for a number of revisions, and returns them."""

    async def enough() -> list[dict] | None:
        found = await revisions(client, position_id)
        return found if len(found) >= count else None

    return await venue.wait_for(enough, 60)


async def meter_of(client: httpx.AsyncClient, position_id: int) -> MeterRecordView:
    return MeterRecordView.model_validate_json((await client.get(f"/v1/positions/{position_id}/meter")).content)


def qualities(view: MeterRecordView) -> str:
    return "".join(sorted(name for name, ms in view.outcome.quality_gpu_ms.items() if ms))


async def bought(venue: Venue, buyer: str, operator: str, node: TestNode, hours: int) -> list:
    """Sells a block on one node; returns its trades in order."""
    contracts = venue.contracts(hours, ahead_s=12)
    await venue.offer(operator, node, contracts, 1)
    await venue.buy_block(buyer, contracts, 1)

    async def traded() -> list | None:
        found = [event for event in await venue.events("trade") if event.buyer == buyer]
        return sorted(found, key=lambda event: event.contract) if len(found) == hours else None

    return await venue.wait_for(traded)


async def metered_by_the_renter(venue: Venue, hours: Hours, agent: PlayedAgent, starts_s: list[int]) -> None:
    """Registers a key for the lease and meters with it; from the second half of the second hour on a GPU is gone."""
    await venue.leased(agent)
    hours.lease_id, start = next(iter(agent.leases.items()))
    hours.told_ends_ms = start.ends_ms
    renter, other = (Renter(hours.lease_id, RenterGpus(NODE.gpus)) for _ in range(2))
    path = f"/v1/leases/{hours.lease_id}/place"
    question = renter.identity.sign(PlaceRequest, agent=renter_agent(hours.lease_id)).canonical()
    hours.refusals["before a key"] = said(await venue.http.post(path, content=question, headers=JSON))
    hours.refusals["the operator's key"] = said(await other.register(hours.ops))
    hours.refusals["registered"] = said(await renter.register(hours.buyer))
    hours.refusals["the same again"] = said(await renter.register(hours.buyer))
    hours.refusals["another key"] = said(await other.register(hours.buyer))
    forged = other.identity.sign(PlaceRequest, agent=renter_agent(hours.lease_id)).canonical()
    hours.refusals["a stranger's"] = said(await venue.http.post(path, content=forged, headers=JSON))
    strayed = renter.identity.sign(PlaceRequest, agent=renter_agent("lease-0")).canonical()
    hours.refusals["another lease's"] = said(await venue.http.post(path, content=strayed, headers=JSON))
    await renter.run(venue.url, lambda now_ms: now_ms >= starts_s[1] * 1000 + PERIOD_S * 500)
    hours.refusals["after the end"] = said(await other.register(hours.buyer))


async def cut_short(venue: Venue, buyer: httpx.AsyncClient, stranger: httpx.AsyncClient) -> CutShort:
    """A node falls silent in the first hour of a block, whose buyer ends the rest."""
    async with venue.site("cut-ops", CUT_NODE) as agent:
        trades = await bought(venue, "cutter", "cut-ops", CUT_NODE, CUT_HOURS)
        block_id = trades[0].block_id
        start_s = await venue.leased(agent)
        told_ends_ms = next(iter(agent.leases.values())).ends_ms
        await venue.sleep_until(start_s + 1)
        answers = [said(await buyer.post(f"/v1/blocks/{block_id}/end"))]
        agent.runs.clear()
        answers.append(said(await stranger.post(f"/v1/blocks/{block_id}/end")))

        async def ended() -> Answer | None:
            answer = said(await buyer.post(f"/v1/blocks/{block_id}/end"))
            return answer if answer[0] != 409 else None

        answers.append(await venue.wait_for(ended))
        await venue.wait_for(lambda: ends_of(venue, block_id))

        async def nothing_left() -> Answer | None:
            answer = said(await buyer.post(f"/v1/blocks/{block_id}/end"))
            return answer if answer[0] == 409 else None

        answers.append(await venue.wait_for(nothing_left))
        await venue.settled("cutter", CUT_HOURS - len(await ends_of(venue, block_id)), 90)
        agent.runs.set()
    return CutShort(block_id, told_ends_ms, [trade.contract for trade in trades], answers)


async def ends_of(venue: Venue, block_id: int) -> list:
    """The positions of a block that ended before their gate."""
    return [event for event in await venue.events("position_ended") if event.block_id == block_id]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cut(venue: Venue) -> AsyncIterator[asyncio.Task[CutShort]]:
    """A block that is ended while the other tests' hours run."""
    await venue.join("cut-ops", "operate")
    buyer, stranger = await venue.join("cutter", "read", "trade"), await venue.join("cut-nobody", "read", "trade")
    task = asyncio.create_task(cut_short(venue, buyer, stranger))
    yield task
    task.cancel()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hours(venue: Venue, cut: asyncio.Task) -> Hours:
    """Three hours of one block: both meters agree, then the renter's sees no GPU any more."""
    hours = Hours(
        await venue.join("renter", "read", "trade"),
        await venue.join("two-ops", "read", "operate"),
        await venue.join("two-judge", "read", "arbiter"),
    )
    await venue.wait_for(lambda: has_traded(venue, "cutter", CUT_HOURS))
    async with venue.site("two-ops", NODE) as agent:
        trades = await bought(venue, "renter", "two-ops", NODE, HOURS)
        hours.positions = [trade.position_id for trade in trades]
        await venue.wait_for(lambda: is_known(hours.buyer, hours.positions[0]))
        hours.refusals["not settled"] = said(await disputed(hours.buyer, hours.positions[0], "early"))
        await metered_by_the_renter(venue, hours, agent, [contract_start_s(trade.contract) for trade in trades])
        await venue.settled("renter", HOURS, 60)
    return hours


async def is_known(client: httpx.AsyncClient, position_id: int) -> bool:
    """Whether delivery has heard of the trade."""
    return (await client.get(f"/v1/positions/{position_id}/access")).status_code == 200


async def has_traded(venue: Venue, buyer: str, count: int) -> bool:
    return len([event for event in await venue.events("trade") if event.buyer == buyer]) == count


@pytest.mark.slow
async def test_a_lease_has_one_meter_key_which_its_buyer_alone_registers_while_it_runs(hours: Hours):
    assert hours.refusals == {
        "not settled": (409, "not_settled"),
        "before a key": (404, "not_found"),
        "the operator's key": (403, "scope_missing"),
        "registered": (201, ""),
        "the same again": (200, ""),
        "another key": (409, "conflict"),
        "a stranger's": (401, "bad_node_signature"),
        "another lease's": (403, "not_this_node"),
        "after the end": (409, "conflict"),
    }


async def test_the_hook_is_told_the_whole_block_at_its_first_hour(hours: Hours, venue: Venue):
    last_ms = (await hours.buyer.get(f"/v1/positions/{hours.positions[-1]}/access")).json()["ends_ms"]
    assert hours.told_ends_ms == last_ms


async def test_what_both_meters_saw_has_quality_a_and_the_receipt_shows_both(venue: Venue, hours: Hours):
    first = hours.positions[0]
    (receipt,) = await revised(venue, hours.buyer, first, 1)
    view = await meter_of(hours.buyer, first)
    assert (receipt["delivered_gpu_s"] >= PERIOD_S - 1, receipt.get("held_micros", 0)) == (True, 0)
    assert view.outcome.quality_gpu_ms["A"] >= (PERIOD_S - 3) * 1000
    assert view.outcome.disputed_gpu_s == 0
    file = ReceiptFile.model_validate_json((await hours.buyer.get(f"/v1/receipts/{first}/file")).content)
    assert len(file.renter_reports) == len(view.inputs.renter_reports) > 0
    assert faults_of(file, (await hours.buyer.get("/v1/receipts/key")).json()["public_key"]) == []


async def test_a_difference_is_held_until_an_arbiter_says_whose_word_stands(venue: Venue, hours: Hours):
    second = hours.positions[1]
    held = (await revised(venue, hours.buyer, second, 1))[0]
    outcome = (await meter_of(hours.buyer, second)).outcome
    event = next(each for each in await venue.events("difference_held") if each.position_id == second)
    assert (event.disputed_gpu_s, event.held_micros) == (outcome.disputed_gpu_s, held.get("held_micros", 0))
    assert 1 <= outcome.disputed_gpu_s <= PERIOD_S // 2
    assert held["delivered_gpu_s"] + outcome.disputed_gpu_s >= PERIOD_S - 1
    assert held["paid_micros"] == PRICE_MICROS * held["delivered_gpu_s"] // 3600

    dispute_id, decision = f"d-{second}-venue", f"/v1/disputes/d-{second}-venue/decision"
    opened = (await hours.buyer.get(f"/v1/disputes/{dispute_id}")).json()
    assert (opened["state"], opened["opened_by"], opened["reason"]) == ("OPEN", "venue", "meters_differ")
    assert said(await disputed(hours.buyer, second, "mine-too")) == (409, "already_disputed")
    for party in (hours.buyer, hours.ops):
        assert said(await party.post(f"/v1/disputes/{dispute_id}/withdraw")) == (403, "not_yours")
    silent = {"inputs": {}, "reason": "looked_at_it"}
    assert said(await hours.judge.post(decision, json=silent)) == (409, "difference_held")
    found = {"inputs": {"differences": "renter", "excuses": []}, "reason": "gpu_was_gone"}
    answer = await hours.judge.post(decision, json=found)
    assert (answer.status_code, answer.json()["outcome"], answer.json()["revision"]) == (200, "corrected", 2)
    corrected = (await revised(venue, hours.buyer, second, 2))[1]
    assert (corrected["delivered_gpu_s"], corrected.get("held_micros", 0)) == (held["delivered_gpu_s"], 0)
    assert corrected["refunded_micros"] == held["refunded_micros"] + held.get("held_micros", 0)
    assert corrected["damages_micros"] > 0


async def test_a_dispute_is_withdrawn_by_its_opener_and_no_side_disputes_twice(venue: Venue, hours: Hours):
    first = hours.positions[0]
    too_much = await disputed(hours.buyer, first, "huge", evidence="x" * (EVIDENCE_CHARACTERS_MAX + 1))
    assert (said(too_much), "evidence" in too_much.json()["detail"]) == ((400, "malformed_request"), True)
    answer = await disputed(hours.buyer, first, "once", evidence="y" * EVIDENCE_CHARACTERS_MAX)
    assert (answer.status_code, answer.json()["state"]) == (201, "OPEN")
    assert said(await disputed(hours.buyer, first, "once")) == (409, "conflict")
    assert said(await disputed_by_node(venue, NODE, NODE, first)) == (409, "already_disputed")
    assert said(await disputed_by_node(venue, NODE, CUT_NODE, first)) == (401, "bad_node_signature")
    assert said(await disputed_by_node(venue, CUT_NODE, CUT_NODE, first)) == (404, "not_found")
    path = f"/v1/disputes/d-{first}-buyer/withdraw"
    assert said(await hours.ops.post(path)) == (403, "not_yours")
    withdrawn = (await hours.buyer.post(path)).json()
    assert (withdrawn["state"], withdrawn["decided_by"], withdrawn["revision"]) == ("WITHDRAWN", "opener", 1)
    assert said(await hours.buyer.post(path)) == (409, "conflict")
    assert said(await disputed(hours.buyer, first, "again")) == (409, "already_disputed")
    closed = await venue.wait_for(lambda: closed_in_engine(venue, first))
    assert [(each.reason, each.revision) for each in closed] == [("withdrawn", 1)]


async def closed_in_engine(venue: Venue, position_id: int) -> list:
    return [event for event in await venue.events("dispute_closed") if event.position_id == position_id]


async def test_what_nobody_decides_by_its_deadline_stands_as_the_contracts_own_meter_says(venue: Venue, hours: Hours):
    third = hours.positions[2]
    held, corrected = await revised(venue, hours.buyer, third, 2)
    dispute = (await hours.buyer.get(f"/v1/disputes/d-{third}-venue")).json()
    assert (dispute["state"], dispute["decided_by"], dispute["outcome"]) == ("DECIDED", "deadline", "corrected")
    assert dispute["deadline_ms"] - dispute["opened_ms"] == SETTINGS["dispute_periods"] * PERIOD_S * 1000
    assert dispute["decided_ms"] >= dispute["deadline_ms"]
    assert dispute["inputs"]["differences"] == "operator"
    assert (held.get("held_micros", 0) > 0, held["damages_micros"]) == (True, 0)
    assert (corrected["delivered_gpu_s"], corrected.get("held_micros", 0)) == (PERIOD_S, 0)
    assert corrected["paid_micros"] == PRICE_MICROS * PERIOD_S // 3600


async def test_a_dispute_comes_too_late_once_the_position_is_final(venue: Venue, hours: Hours):
    first = hours.positions[0]

    async def is_final() -> bool:
        return any(event.position_id == first for event in await venue.events("position_finalized"))

    await venue.wait_for(is_final, 60)
    late = await disputed_by_node(venue, NODE, NODE, first)
    assert (said(late), late.json()["detail"]) == (
        (409, "too_late"),
        f"position {first} could be disputed for {TERMS['final_after_s']} s after its end",
    )


async def test_a_buyer_ends_his_block_after_a_long_outage_and_owes_nothing_for_the_rest(venue: Venue, cut):
    ended = await cut
    assert ended.answers == [(409, "no_outage"), (404, "not_found"), (202, ""), (409, "gate_closed")]
    assert ended.told_ends_ms == (contract_start_s(ended.contracts[-1]) + PERIOD_S) * 1000
    positions = sorted(await ends_of(venue, ended.block_id), key=lambda event: event.contract)
    escrow_micros = -(-PRICE_MICROS * PERIOD_S // 3600)
    served, left = ended.contracts[: -len(positions)], ended.contracts[-len(positions) :]
    assert [(each.contract, each.escrow_micros, each.bond_micros > 0) for each in positions] == [
        (contract, escrow_micros, True) for contract in left
    ]
    assert {each.buyer: each.operator for each in positions} == {"cutter": "cut-ops"}
    settled = [event for event in await venue.events("position_settled") if event.buyer == "cutter"]
    assert [event.contract for event in settled] == served
    assert [event.delivered_gpu_s for event in settled[1:]] == [0] * (len(served) - 1)
