"""Proofs through the service: what scores and wrong rows lead to, each step, and how simulated nodes are marked."""

import asyncio
from contextlib import asynccontextmanager

import httpx
import pytest

from agents.node.challenge import NumpyBackend, run_chain
from schemas.nodes import Challenge, ChallengeCommit, GpuCommit
from services.delivery.node_views import node_view
from services.delivery.store import Store, open_pool
from tests.fakes.attestation import RecordedAttester
from tests.fakes.cheats import WrongRows
from tests.fixtures.delivery import TestNode, gpu_uuid
from tests.fixtures.node_agent import PlayedAgent
from tests.integration.delivery.conftest import Venue

pytestmark = pytest.mark.asyncio(loop_scope="module")
# Real grades are proven with small products here, and have long to show what they hold; their bands are the real ones.
SETTINGS = {
    "challenge_n": 256,
    "challenge_memory_permille": 1,
    "challenge_retry_ms": 200,
    "residency_slack_ms": 60_000,
    "simulated_challenge_n": 128,
}


def node_of(seed: int) -> TestNode:
    return TestNode(seed=seed, gpus=(gpu_uuid(2 * seed), gpu_uuid(2 * seed + 1)))


async def enrolled(venue: Venue, node: TestNode, **changes: object) -> tuple[PlayedAgent, Challenge]:
    """Enrols without answering the first challenge."""
    agent = PlayedAgent(node, venue.http, **changes)
    request = node.enrolment(await venue.token("ops", f"token-{node.seed}"), nvml_simulated=agent.simulated)
    reply = (await venue.http.post("/v1/nodes", content=request.canonical())).json()
    agent.nonce = reply["server_nonce"]
    return agent, Challenge.model_validate_json(httpx.Response(200, json=reply["challenge"]).content)


@asynccontextmanager
async def at_work(agent: PlayedAgent):
    tasks = [asyncio.create_task(work) for work in (agent.run(), agent.listen())]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()


@pytest.mark.slow
async def test_a_machine_without_gpus_cannot_pass_the_band_of_a_real_grade(venue: Venue):
    node = TestNode(seed=201, gpus=(gpu_uuid(402),))
    agent, challenge = await enrolled(venue, node, simulated=False)
    assert (challenge.n, challenge.rounds) == (256, 326)
    first = await agent.prove(challenge)
    assert ({gpu.reason for gpu in first.gpus}, first.band, first.simulated) == ({"too_slow"}, "uncalibrated", False)
    async with at_work(agent):

        async def is_out() -> bool:
            return (await venue.node(node.node_id))["state"] == "quarantined"

        assert (await venue.node(node.node_id))["state"] == "enrolled"
        await venue.wait_for(is_out, 120)
    facts = await venue.node(node.node_id)
    assert (facts["level"], facts["reason"], facts["simulated"]) == ("T0", "score_below_band", False)
    assert [(proof["passed"], proof["reason"], proof["band"]) for proof in facts["proofs"]] == [
        (False, "too_slow", "uncalibrated"),
    ]
    told = [event for event in await venue.delivery_events() if event.node == node.node_id]
    assert [event.reason for event in told if event.type == "challenge_failed"] == ["too_slow"] * 3


async def test_a_simulated_node_passes_and_every_answer_says_so(venue: Venue):
    node = node_of(202)
    agent, challenge = await enrolled(venue, node)
    verdict = await agent.prove(challenge)
    assert (challenge.n, challenge.rounds, verdict.passed, verdict.band, verdict.simulated) == (
        128,
        4,
        True,
        "simulated",
        True,
    )
    async with at_work(agent):
        await venue.wait_for(lambda: venue.is_alive(node.node_id))
    facts = await venue.node(node.node_id)
    assert (facts["level"], facts["simulated"], {proof["band"] for proof in facts["proofs"]}) == (
        "T1",
        True,
        {"simulated"},
    )
    told = [event for event in await venue.delivery_events() if event.node == node.node_id]
    assert {(event.type, event.simulated) for event in told} == {
        ("node_enrolled", True),
        ("challenge_passed", True),
        ("node_state_changed", True),
    }


async def test_a_node_says_that_it_is_not_attestable_today_and_an_attesters_answer_moves_no_level(venue: Venue):
    node = node_of(207)
    agent, challenge = await enrolled(venue, node)
    assert (await agent.prove(challenge)).passed
    async with at_work(agent):
        await venue.wait_for(lambda: venue.is_alive(node.node_id))
    view = await venue.node(node.node_id)
    assert (view["attestation"]["state"], view["level"]) == ("not_attestable_today", "T1")
    pool = await open_pool(venue.settings)
    store = Store(pool)
    row = await store.row("find_node", node.node_id)
    attested = await node_view(store, venue.settings, row, RecordedAttester(node.node_id))
    await pool.close()
    assert (attested.attestation.state, attested.level, attested.audited_until_ms) == ("attested", "T1", None)


async def test_a_grade_without_a_published_rate_is_refused_in_one_line(venue: Venue):
    """Holds [D-25]"""
    node = TestNode(seed=203, gpus=(gpu_uuid(406),), grade="RTXPRO6000S96")
    board = node.inventory(node.gpus[0], 0).model_copy(
        update={"name": "NVIDIA RTX PRO 6000 Blackwell Server Edition", "memory_mib": 97_887}
    )
    request = node.enrolment(await venue.token("ops", "token-203"), nvml_simulated=False, gpus=(board,))
    answer = await venue.http.post("/v1/nodes", content=request.canonical())
    assert (answer.status_code, answer.json()["code"]) == (422, "grade_without_band")
    assert answer.json()["detail"].startswith("no INT8 rate of RTXPRO6000S96 is on file")


async def test_c08_rows_that_were_never_computed_are_found(venue: Venue):
    node = node_of(204)
    agent, challenge = await enrolled(venue, node, backend=WrongRows(honest_rows=120))
    verdict = await agent.prove(challenge)
    assert {gpu.reason for gpu in verdict.gpus} == {"row_differs"}

    async def is_out() -> bool:
        return (await venue.node(node.node_id))["reason"] == "challenge_row_differs"

    await venue.wait_for(is_out)


async def test_gpus_are_opened_one_by_one_and_the_verdict_is_final_with_the_last(venue: Venue):
    node = node_of(205)
    agent, challenge = await enrolled(venue, node)
    seen = []
    post = agent.post

    async def watched(path, message):
        answer = await post(path, message)
        seen.append((path.rsplit("/", 1)[1], answer.json()))
        return answer

    agent.post = watched
    await agent.prove(challenge)
    assert [step for step, _ in seen] == ["commit", "residency", "open", "open"]
    halves = [(verdict["passed"], len(verdict["gpus"]), verdict.get("pending", [])) for _, verdict in seen[2:]]
    assert halves == [(False, 1, [node.gpus[1]]), (True, 2, [])]


async def test_a_nonce_that_never_left_cannot_be_committed_to_and_steps_cannot_be_skipped(venue: Venue):
    node = node_of(206)
    _, challenge = await enrolled(venue, node)
    chain = run_chain(NumpyBackend(), challenge, node.node_id, node.gpus[0])
    path = f"/v1/nodes/{node.node_id}/challenges/{challenge.challenge_id}"
    facts = {"agent": node.node_id, "challenge_id": challenge.challenge_id}
    heads = (GpuCommit(gpu_uuid=node.gpus[0], head=chain.head.hex()),)
    commit = node.sign(ChallengeCommit, **facts, backend="numpy", heads=heads).canonical()
    early = await venue.http.post(f"{path}/open", content=b"{}")
    assert (early.status_code, early.json()["code"]) == (409, "challenge_closed")
    first, again = [(await venue.http.post(f"{path}/commit", content=commit)).json() for _ in range(2)]
    assert (first == again, first["opening"], len(first["residency"]["nonce"])) == (True, None, 64)
    skipped = await venue.http.post(f"{path}/open", content=b"{}")
    assert (skipped.status_code, skipped.json()["code"]) == (409, "challenge_closed")


async def test_an_opening_may_be_larger_than_other_bodies_and_is_bounded_all_the_same(venue: Venue):
    path = f"/v1/nodes/{node_of(202).node_id}/challenges/ch-none"
    codes = [
        (await venue.http.post(f"{path}/{step}", content=b" " * size)).json()["code"]
        for step, size in (("commit", 9_000_000), ("open", 9_000_000), ("open", 17_000_000))
    ]
    assert codes == ["body_too_large", "not_found", "body_too_large"]
