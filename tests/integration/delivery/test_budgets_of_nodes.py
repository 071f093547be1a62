"""What a node may send: a flood is refused and costs nobody else anything, and an honest queue is taken whole."""

import asyncio
import time
from pathlib import Path

import pytest

from agents.node.client import DeliveryClient
from agents.node.identity import Identity
from agents.node.notices import Notices
from agents.node.reports import ReportChain
from agents.node.sending import ReportSender
from agents.node.state import StateFolder
from schemas.nodes import GENESIS_HASH, ChainRequest, EnrolReply, Report
from tests.fixtures.delivery import TestNode, gpu_uuid, reading
from tests.integration.delivery.conftest import Venue

pytestmark = pytest.mark.asyncio(loop_scope="module")
NODE_PER_S, ACCOUNT_PER_S = 20, 30
AT_ONCE = 16
SETTINGS = {
    "node_reports_per_s": NODE_PER_S,
    "node_messages_per_s": NODE_PER_S,
    "account_reports_per_s": ACCOUNT_PER_S,
    "account_messages_per_s": ACCOUNT_PER_S,
    "node_requests_at_once_max": AT_ONCE,
    "node_burst_s": 1.0,
    "maintenance_windows_max": 2,
}
QUEUED = 90


async def enrolled(venue: Venue, account: str, seed: int) -> tuple[TestNode, str]:
    """A node that is enrolled, and its first nonce."""
    node = TestNode(seed=seed, gpus=(gpu_uuid(seed),))
    token = await venue.token(account, f"token-{seed}")
    answer = await venue.http.post("/v1/nodes", content=node.enrolment(token).canonical())
    return node, EnrolReply.model_validate_json(answer.content).server_nonce


async def sent(venue: Venue, node: TestNode, report: Report | ChainRequest, kind: str = "reports") -> tuple[int, str]:
    answer = await venue.http.post(f"/v1/nodes/{node.node_id}/{kind}", content=report.canonical())
    return answer.status_code, answer.json().get("code", "")


def queue_of(node: TestNode, nonce: str, count: int) -> list[Report]:
    return [node.report(nonce, at, at + 1, queued=at > 0) for at in range(count)]


def asking(node: TestNode) -> ChainRequest:
    place = {"base_seq": 0, "base_hash": GENESIS_HASH, "boot_id": node.boot_id, "wall_ms": 0}
    return node.sign(ChainRequest, agent=node.node_id, **place)


async def test_a_real_agents_queue_after_an_outage_is_taken_whole_and_in_order(venue: Venue, tmp_path: Path):
    node, nonce = await enrolled(venue, "acc-queue", 9_101)
    chain = ReportChain(Identity(node.key), StateFolder(tmp_path / "state"))
    chain.renew_nonce(nonce)
    shared = ("agent", "boot_id", "wall_ms", "lease_ids", "agent_version", "driver_version", "library_sha256")
    kept = {name: getattr(node.report(nonce, 0, 1), name) for name in (*shared, "nvml_simulated")}
    for at in range(QUEUED):
        gpus = (reading(node.gpus[0], energy_mj=1_000 + 70 * at),)
        chain.append(**kept, mono_start_ms=at, mono_end_ms=at + 1, gpus=gpus)
    notices, replies = Notices(), []
    told = (replies.append, lambda leases: None, lambda leases: None)
    sender = ReportSender(chain, DeliveryClient(venue.http, venue.url), notices, *told)
    sender.agent, sender.boot_id = node.node_id, node.boot_id
    began, turns = time.monotonic(), 0
    async with asyncio.timeout(60):
        while chain.waiting:
            assert await sender.send_waiting()
            turns += 1
            await asyncio.sleep(0.1)
    took_s = time.monotonic() - began
    assert [reply.seq for reply in replies] == list(range(1, QUEUED + 1))
    assert took_s > (QUEUED - NODE_PER_S - AT_ONCE) / NODE_PER_S - 1, "the budget held"
    assert turns > 2 and notices.about() == {}, "the agent waited, and nothing seemed wrong to it"
    assert (await venue.node(node.node_id))["state"] == "enrolled"


async def test_a_flood_of_one_node_is_refused_while_another_accounts_node_is_heard(venue: Venue):
    (flooder, flood_nonce), (honest, nonce) = (
        await enrolled(venue, "acc-f", 9_102),
        await enrolled(venue, "acc-h", 9_103),
    )
    flood = queue_of(flooder, flood_nonce, 20 * NODE_PER_S)
    began, answers = time.monotonic(), []
    for start in range(0, len(flood), AT_ONCE):
        answers += await asyncio.gather(*(sent(venue, flooder, each) for each in flood[start : start + AT_ONCE]))
        if start == 0:
            assert await sent(venue, honest, honest.report(nonce, 0, 1)) == (200, "")
    taken = len(answers) - answers.count((429, "too_many_requests"))
    assert {*answers} == {(200, ""), (409, "report_gap"), (429, "too_many_requests")}, "behind a refused one is a gap"
    assert NODE_PER_S <= taken <= NODE_PER_S * (1 + time.monotonic() - began) + AT_ONCE
    # Its other messages have a budget of their own, and are bounded as well.
    asked = []
    for _ in range(6):
        asked += await asyncio.gather(*(sent(venue, flooder, asking(flooder), "chain") for _ in range(AT_ONCE)))
    assert asked[0] == (200, "") and (429, "too_many_requests") in asked


async def test_all_nodes_of_an_account_share_its_budget(venue: Venue):
    nodes = [await enrolled(venue, "acc-fleet", 9_110 + place) for place in range(3)]
    began, answers = time.monotonic(), []
    for each, nonce in nodes:
        answers += [await sent(venue, each, report) for report in queue_of(each, nonce, NODE_PER_S)]
    taken = answers.count((200, ""))
    assert ACCOUNT_PER_S <= taken <= ACCOUNT_PER_S * (1 + time.monotonic() - began) + 1
    assert taken < len(answers) or time.monotonic() - began > 1


async def test_nobody_uses_up_the_budget_of_a_node_whose_key_is_not_his(venue: Venue):
    (node, nonce), stranger = await enrolled(venue, "acc-victim", 9_120), TestNode(seed=9_121)
    forged = node.report(nonce, 0, 1).model_copy(update={"signature": stranger.key.sign(b"something").hex()})
    node.seq, node.last_hash = 0, GENESIS_HASH
    answers = {await sent(venue, node, forged) for _ in range(3 * NODE_PER_S)}
    assert answers == {(401, "bad_node_signature")}
    assert await sent(venue, node, node.report(nonce, 0, 1)) == (200, "")


async def test_a_refusal_says_when_to_come_again(venue: Venue):
    node, nonce = await enrolled(venue, "acc-told", 9_130)
    path, queue = f"/v1/nodes/{node.node_id}/reports", queue_of(node, nonce, 6 * AT_ONCE)
    answers = []
    for start in range(0, len(queue), AT_ONCE):
        turn = queue[start : start + AT_ONCE]
        answers += await asyncio.gather(*(venue.http.post(path, content=each.canonical()) for each in turn))
    answer = next(answer for answer in answers if answer.status_code == 429)
    problem = answer.json()
    del problem["request_id"]
    assert problem == {
        "type": "urn:hourbook:problem:too_many_requests",
        "title": "too many requests",
        "status": 429,
        "code": "too_many_requests",
        "detail": "the node has sent more than it may for now; what it keeps is taken later",
        "retryable": True,
        "order_state": "none",
    }
    assert answer.headers["Retry-After"] == "1"
    assert answer.headers["RateLimit-Policy"] == f'"node_reports";q={NODE_PER_S};w=1'


async def test_a_node_has_so_many_windows_of_maintenance_to_come(venue: Venue):
    node, _ = await enrolled(venue, "acc-windows", 9_140)
    operator = await venue.join("acc-windows", "read", "operate")
    at_ms, answers = int(time.time() * 1_000) + 3_600_000, []

    async def is_known() -> bool:
        return (await operator.get("/v1/receipts")).status_code == 200

    await venue.wait_for(is_known)
    for place in range(20 * 2):
        window = {"start_ms": at_ms + 1_000 * place, "end_ms": at_ms + 1_000 * place + 500}
        answer = await operator.post(f"/v1/nodes/{node.node_id}/maintenance", json=window)
        answers.append((answer.status_code, answer.json().get("code", "")))
    assert answers == [(201, "")] * 2 + [(409, "conflict")] * 38
    await operator.aclose()
