"""Disputes on real servers: opened by either side, decided by rules or by an arbiter's inputs, and then final."""

import pytest

from clients.receipts import faults_of
from schemas.disputes import NodeDispute
from schemas.receipts import ReceiptFile
from tests.fixtures.delivery import TestNode, gpu_uuid
from tests.integration.delivery.conftest import PERIOD_S, PRICE_MICROS, Venue

pytestmark = pytest.mark.asyncio(loop_scope="module")
JSON = {"Content-Type": "application/json"}


def paid(receipt: dict) -> int:
    """What is due for what one GPU delivered."""
    return PRICE_MICROS * receipt["delivered_gpu_s"] // 3600


async def delivered(venue: Venue, node: TestNode, buyer: str, contracts: int) -> list[int]:
    """Positions of one GPU each that were delivered whole and are settled."""
    async with venue.site("dops", node):
        names = venue.contracts(contracts)
        await venue.offer("dops", node, names, 1)
        await venue.buy_block(buyer, names, 1)
        settled = await venue.settled(buyer, contracts, 90)
    return [event.position_id for event in settled]


async def opened(client, position_id: int, reason: str, key: str = "key-1", evidence: str = "log"):
    form = {"reason": reason, "evidence": evidence}
    return await client.post(f"/v1/positions/{position_id}/disputes", json=form, headers={"Idempotency-Key": key})


@pytest.mark.slow
async def test_a_dispute_is_decided_by_rules_or_by_inputs_and_never_by_a_stranger(venue: Venue):
    dora = await venue.join("dora", "read", "trade")
    ops, reader = await venue.join("dops", "read", "operate"), await venue.join("dora2", "read")
    judge = await venue.join("judge", "read", "arbiter")
    node = TestNode(seed=21, gpus=(gpu_uuid(21 * 16),))
    first, second = await delivered(venue, node, "dora", 2)

    async def revisions(position_id: int, count: int) -> list[dict] | None:
        items = (await dora.get(f"/v1/receipts/{position_id}/revisions")).json()["items"]
        return items if len(items) == count else None

    async def decided(dispute_id: str) -> dict | None:
        found = (await dora.get(f"/v1/disputes/{dispute_id}")).json()
        return found if found["state"] == "DECIDED" else None

    (receipt,) = await venue.wait_for(lambda: revisions(first, 1))
    assert receipt["paid_micros"] == paid(receipt) > paid({"delivered_gpu_s": PERIOD_S // 2})

    # A stranger, a key that only reads, an unknown reason, evidence without end, a missing key.
    assert (await opened(reader, first, "other")).json()["code"] == "scope_missing"
    assert (await opened(judge, first, "other")).json()["code"] == "scope_missing"
    assert (await opened(dora, 10**9, "other")).json()["code"] == "not_found"
    assert (await opened(dora, first, "because")).status_code == 400
    assert (await opened(dora, first, "other", evidence="x" * 20_000)).status_code == 400
    keyless = await dora.post(f"/v1/positions/{first}/disputes", json={"reason": "other"})
    assert keyless.status_code == 400

    # Opened once; the same key again is the same dispute, another one is one too many.
    answer = await opened(dora, first, "no_access")
    dispute = answer.json()
    assert (answer.status_code, dispute["state"], dispute["opened_by"]) == (201, "OPEN", "buyer")
    assert (await opened(dora, first, "no_access")).json()["dispute_id"] == dispute["dispute_id"]
    assert (await opened(dora, first, "other")).json()["code"] == "conflict"
    assert (await opened(ops, first, "other")).json()["code"] == "already_disputed"

    # The other side's dispute of the other position, by its agent, is one that rules decide: nothing new, so confirmed.
    message = {"agent": node.node_id, "position_id": second, "reason": "late_reports"}
    signed = node.sign(NodeDispute, **message)
    forged = signed.model_copy(update={"reason": "other"})
    by_agent = f"/v1/nodes/{node.node_id}/disputes"
    assert (await venue.http.post(by_agent, content=forged.canonical(), headers=JSON)).json()[
        "code"
    ] == "bad_node_signature"
    assert (await venue.http.post(by_agent, content=signed.canonical(), headers=JSON)).status_code == 201
    ruled = await venue.wait_for(lambda: decided(f"d-{second}-operator"))
    assert ruled["decided_by"] == "rules"

    # The arbiter gives inputs: the buyer got in half-way. The function runs again, and the receipt shows what on.
    path = f"/v1/disputes/{dispute['dispute_id']}/decision"
    start_ms = (await dora.get(f"/v1/positions/{first}/meter")).json()["inputs"]["start_ms"]
    inputs = {"access_ms": start_ms + PERIOD_S * 500}
    assert (await dora.post(path, json={"inputs": inputs, "reason": "x"})).json()["code"] == "scope_missing"
    amounts = {"inputs": {"paid_micros": 1}, "reason": "x"}
    assert (await judge.post(path, json=amounts)).status_code == 400
    said, keyed = {"inputs": inputs, "reason": "door_was_shut"}, {"Idempotency-Key": "decided"}
    answer, again = [await judge.post(path, json=said, headers=keyed) for _ in range(2)]
    assert (again.content, again.headers["idempotent-replayed"]) == (answer.content, "true")
    assert (answer.status_code, answer.json()["outcome"], answer.json()["revision"]) == (200, "corrected", 2)
    assert (await judge.post(path, json={"inputs": inputs, "reason": "again"})).json()["code"] == "conflict"
    corrected = (await venue.wait_for(lambda: revisions(first, 2)))[1]
    assert corrected["delivered_gpu_s"] <= PERIOD_S // 2
    assert corrected["paid_micros"] == paid(corrected)
    file = ReceiptFile.model_validate_json((await dora.get(f"/v1/receipts/{first}/file")).content)
    assert faults_of(file, (await dora.get("/v1/receipts/key")).json()["public_key"]) == []
    assert file.meter.access_ms == inputs["access_ms"]

    told = [each for each in await venue.delivery_events() if each.type == "dispute_changed"]
    assert [(each.position_id, each.state, each.decided_by) for each in told] == [
        (first, "OPEN", None),
        (second, "OPEN", None),
        (second, "DECIDED", "rules"),
        (first, "DECIDED", "arbiter"),
    ]
    engine = [each for kind in ("dispute_opened", "dispute_closed") for each in await venue.events(kind)]
    assert [(each.type, each.position_id) for each in engine] == [
        ("dispute_opened", first),
        ("dispute_opened", second),
        ("dispute_closed", second),
        ("dispute_closed", first),
    ]
    mine = (await ops.get("/v1/disputes", params={"state": "DECIDED"})).json()["items"]
    assert {each["dispute_id"] for each in mine} == {f"d-{first}-buyer", f"d-{second}-operator"}
    assert (await reader.get("/v1/disputes")).json()["items"] == []
    assert (await reader.get(f"/v1/disputes/d-{first}-buyer")).json()["code"] == "not_found"

    paths = [f"/v1/nodes/{node.node_id}", f"/v1/nodes/{node.node_id}/reputation", "/v1/operators/dops/reputation"]
    paths += [f"/v1/positions/{first}/{part}" for part in ("access", "meter")]
    paths += [f"/v1/receipts/{first}", f"/v1/disputes/{dispute['dispute_id']}"]
    answers = {path: (await dora.get(path)).json() for path in paths}
    assert {path: answer.get("simulated") for path, answer in answers.items()} == dict.fromkeys(paths, True)
    assert file.receipt.simulated
