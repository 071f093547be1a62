"""From enrolment to receipt on real servers: what is sold is proven, leased, metered and settled, whatever restarts."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from agents.node import declaring
from agents.node.config import AgentConfig
from agents.node.errors import VenueRefused
from clients.receipts import faults_of
from schemas.declarations import NodeMaintenance
from schemas.delivery import DeliveryEvent, MeterInputs, MeterOutcome
from schemas.events import PositionSettled
from schemas.ids import contract_start_s
from schemas.nodes import NodeReported, Report, signing_bytes
from schemas.receipts import ReceiptFile
from schemas.venue import SettlePosition, VoidContract
from services.delivery.meter import measure
from services.kit.keys import signature_holds
from tests.fixtures.delivery import TestNode, gpu_uuid
from tests.fixtures.node_agent import HOST_KEY, PlayedAgent
from tests.integration.delivery.conftest import INTERRUPTIBLE, PERIOD_S, PRICE_MICROS, Venue

pytestmark = pytest.mark.asyncio(loop_scope="module")
SETTINGS = {"maintenance_ahead_ms": 1_000}


def gpus_of(seed: int, count: int) -> tuple[str, ...]:
    return tuple(gpu_uuid(seed * 16 + number) for number in range(count))


async def test_a_block_is_delivered_whole_by_one_lease_and_its_receipts_can_be_recomputed(venue: Venue):
    alice, ops = await venue.join("alice", "read", "trade"), await venue.join("ops", "read", "operate")
    node = TestNode(seed=1, gpus=gpus_of(1, 4))
    async with venue.site("ops", node) as agent:
        contracts = venue.contracts(2, ahead_s=18)  # what the buyer wishes for has to come before the gate
        await venue.offer("ops", node, contracts, 4)
        await venue.buy_block("alice", contracts, 3)
        position_id = await venue.wait_for(lambda: position_of(venue, "alice"))
        named, _ = [(await add_key(alice, number)).json() for number in (1, 2)]
        wish = {"key_ids": [named["key_id"]], "image": "pytorch:2.8", "script": "#!/bin/sh\nnvidia-smi\n"}
        # Delivery reads of the trade a moment after the log has it, and waits for it.
        assert (await alice.post(f"/v1/positions/{position_id}/access", json=wish)).json()["state"] == "pending"
        assert (await ops.post(f"/v1/positions/{position_id}/access", json=wish)).status_code == 403

        async def access() -> dict | None:
            answer = await alice.get(f"/v1/positions/{position_id}/access")
            return answer.json() if answer.status_code == 200 and answer.json()["state"] == "started" else None

        opened = await venue.wait_for(access, 60)
        lease_id = f"lease-{position_id}"
        assert (opened["endpoint"], opened["credential"]) == (f"ssh://{node.node_id}.test:22", f"secret-of-{lease_id}")
        assert (opened["host"], opened["port"], opened["host_key"]) == (f"{node.node_id}.test", 22, HOST_KEY)
        started = agent.leases[lease_id]
        assert (started.ssh_keys, started.image, started.script) == ((named["public_key"],), *list(wish.values())[1:])
        assert (await alice.post(f"/v1/positions/{position_id}/access", json=wish)).status_code == 409
        assert (await ops.get(f"/v1/positions/{position_id}/access")).status_code == 403
        settled = await venue.settled("alice", 2)
        receipts = await venue.wait_for(lambda: receipts_of(alice, 2))
        assert set(agent.refusals) <= {"report_nonce_stale"}
    assert receipts == await receipts_of(ops, 2)
    assert [(each["position_id"], each["contracted_gpu_s"], each["delivered_gpu_s"]) for each in receipts] == [
        (position_id + 1, 3 * PERIOD_S, 3 * PERIOD_S),
        (position_id, 3 * PERIOD_S, 3 * PERIOD_S),
    ]
    assert [each["paid_micros"] for each in receipts] == [PRICE_MICROS * 3 * PERIOD_S // 3600] * 2
    assert opened["gpus"] == receipts[0]["gpus"] == receipts[1]["gpus"]
    await recompute(alice, node, settled[0])
    told = await venue.delivery_events()
    assert [event.seq for event in told] == list(range(1, len(told) + 1))
    leases = [(event.type, event.lease_id) for event in told if event.type.startswith("lease")]
    assert leases == [("lease_started", lease_id), ("lease_ended", lease_id)]


async def test_a_correction_gives_a_new_receipt_beside_the_first(venue: Venue):
    (settled,) = (await venue.settled("alice", 2))[:1]
    alice, ops = await venue.join("alice", "read"), await venue.join("ops", "read")
    correction = SettlePosition(
        position_id=settled.position_id,
        revision=2,
        excused_gpu_s=0,
        delivered_gpu_s=2 * PERIOD_S,
        used_gpu_s=0,
        noticed=False,
        recalled_gpus=0,
        meter_digest="c" * 64,
    )
    await venue.enqueue(correction)

    async def corrected() -> list[dict] | None:
        items = (await alice.get(f"/v1/receipts/{settled.position_id}/revisions")).json()["items"]
        return items if len(items) == 2 else None

    first, second = await venue.wait_for(corrected)
    assert [each["revision"] for each in (first, second)] == [1, 2]
    assert (first["delivered_gpu_s"], second["delivered_gpu_s"]) == (3 * PERIOD_S, 2 * PERIOD_S)
    assert second["paid_micros"] == PRICE_MICROS * 2 * PERIOD_S // 3600
    assert second["paid_micros"] + second["refunded_micros"] == first["paid_micros"] + first["refunded_micros"]
    assert (await ops.get(f"/v1/receipts/{settled.position_id}")).json() == second
    all_of_them = (await alice.get("/v1/receipts", params={"revisions": True})).json()["items"]
    mine = [each["revision"] for each in all_of_them if each["position_id"] == settled.position_id]
    refused = await alice.get(f"/v1/receipts/{settled.position_id}/file", params={"revision": 3})
    assert (mine, refused.json()["code"]) == ([1, 2], "not_found")
    told = [(each.revision, each.meter_digest) for each in await venue.delivery_events()
            if each.type == "receipt_issued" and each.position_id == settled.position_id]  # fmt: skip
    assert told == [(1, settled.meter_digest), (2, "c" * 64)]


async def add_key(client, number: int):
    key = ed25519.Ed25519PrivateKey.from_private_bytes(number.to_bytes(32, "big")).public_key()
    line = key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return await client.post("/v1/ssh-keys", json={"public_key": f"{line} laptop-{number}\n"})


async def test_an_account_has_ssh_keys_of_its_own_up_to_a_number_and_adding_one_twice_changes_nothing(venue: Venue):
    eve = await venue.join("eve", "read", "trade")
    await venue.wait_for(lambda: knows(eve))
    added = [await add_key(eve, number) for number in range(1, 18)]
    assert [answer.status_code for answer in added] == [201] * 16 + [409]
    first, again = added[0].json(), await add_key(eve, 1)
    assert (again.status_code, again.json()) == (200, first)
    assert (first["type"], first["comment"]) == ("ssh-ed25519", "laptop-1")
    assert len((await eve.get("/v1/ssh-keys")).json()["items"]) == 16
    for _ in range(2):
        assert (await eve.delete(f"/v1/ssh-keys/{first['key_id']}")).status_code == 204
    assert first not in (await eve.get("/v1/ssh-keys")).json()["items"]
    refused = await eve.post("/v1/ssh-keys", json={"public_key": "no key"})
    assert (refused.status_code, refused.json()["code"]) == (400, "malformed_request")
    assert (await venue.http.get("/v1/ssh-keys")).status_code == 401


async def knows(client) -> bool:
    return (await client.get("/v1/ssh-keys")).status_code == 200


async def position_of(venue: Venue, buyer: str) -> int | None:
    return next((event.position_id for event in await venue.events("trade") if event.buyer == buyer), None)


async def receipts_of(client, count: int) -> list[dict] | None:
    answer = await client.get("/v1/receipts")
    return answer.json()["items"] if answer.status_code == 200 and len(answer.json()["items"]) == count else None


async def recompute(client, node: TestNode, settled) -> None:
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
    key = (await client.get("/v1/receipts/key")).json()
    answer = await client.get(f"/v1/receipts/{settled.position_id}/file")
    file = ReceiptFile.model_validate_json(answer.content)
    assert (file.receipt.revision, file.reports, file.key_id) == (1, tuple(taken), key["key_id"])
    assert faults_of(file, key["public_key"]) == []


@dataclass
class Delivery:
    """One site sells two GPUs for one period, and something breaks."""

    agent: PlayedAgent
    settled: PositionSettled
    receipt: dict
    told: list[DeliveryEvent]
    outcome: MeterOutcome | None

    def idle_s(self, gpu: str, *reasons: str) -> float:
        """The seconds of a GPU that do not count for one of these reasons."""
        own = (each for each in self.outcome.intervals if each.gpu == gpu and each.reason in reasons)
        return sum(each.end_ms - each.start_ms for each in own if not each.conforming) / 1_000


async def deliver(venue: Venue, client, seed: int, contract: str, break_it: Callable) -> Delivery:
    buyer, operator, node = f"buyer-{seed}", f"ops-{seed}", TestNode(seed=seed, gpus=gpus_of(seed, 2))
    async with venue.site(operator, node) as agent:
        await venue.offer(operator, node, [contract], 2)
        await venue.buy(buyer, contract, 2)
        await break_it(venue, agent)
        (settled,) = await venue.settled(buyer, 1)
        (receipt,) = await venue.wait_for(lambda: receipts_of(client, 1))
        told = [event for event in await venue.delivery_events() if event.node == node.node_id]
        metered = await client.get(f"/v1/positions/{settled.position_id}/meter")
    outcome = metered.json()["outcome"] if metered.is_success else None  # nobody meters what is void
    return Delivery(agent, settled, receipt, told, outcome and MeterOutcome.model_validate(outcome, strict=False))


@pytest.mark.slow
async def test_what_was_resold_is_leased_to_its_new_buyer_and_billed_to_him(venue: Venue):
    node = TestNode(seed=9, gpus=gpus_of(9, 2))
    clients = {name: await venue.join(name, "read", "trade") for name in ("first-9", "second-9")}
    await venue.join("ops-9", "operate")
    async with venue.site("ops-9", node):
        (contract,) = venue.contracts(1, ahead_s=11)
        await venue.offer("ops-9", node, [contract], 2)
        await venue.buy("first-9", contract, 2)
        await venue.resell("first-9", contract, 1)
        await venue.buy("second-9", contract, 1)
        settled = [(await venue.settled(name, 1))[0] for name in clients]
        receipts = [(await venue.wait_for(lambda c=client: receipts_of(c, 1)))[0] for client in clients.values()]
    assert [(each.qty, each.operator, each.node) for each in settled] == 2 * [(1, "ops-9", node.node_id)]
    assert [receipt["buyer"] for receipt in receipts] == ["first-9", "second-9"]
    assert len({gpu for receipt in receipts for gpu in receipt["gpus"]}) == 2
    assert all(each.delivered_gpu_s > 0 for each in settled)


@pytest.mark.slow
async def test_interruptible_gpus_are_taken_back_with_notice_or_cost_the_damages_of_one_that_is_lost(
    venue: Venue, tmp_path: Path
):  # M19
    nodes = [TestNode(seed=seed, gpus=gpus_of(seed, 2)) for seed in (10, 11, 13)]
    buyer, ops = await venue.join("buyer-10", "read", "trade"), await venue.join("ops-10", "operate")
    async with (
        venue.site("ops-10", nodes[0]) as kept,
        venue.site("ops-10", nodes[1]) as losing,
        venue.site("ops-10", nodes[2]) as recalling,
    ):
        (contract,) = venue.contracts(1, ahead_s=15, product=INTERRUPTIBLE)
        for node in nodes:
            await venue.offer("ops-10", node, [contract], 2)
            await venue.buy("buyer-10", contract, 2)
        start_s = max([await venue.leased(agent) for agent in (kept, losing, recalling)])
        await venue.sleep_until(start_s + 1)
        losing.facts = lambda uuid: {"present": False} if uuid == nodes[1].gpus[1] else {}
        trades = {event.node: event.position_id for event in await venue.events("trade") if event.buyer == "buyer-10"}
        position_id, taken = trades[nodes[0].node_id], nodes[0].gpus[1]
        form = {"position_id": position_id, "gpus": [taken]}
        path, key = f"/v1/nodes/{nodes[0].node_id}/recalls", {"Idempotency-Key": "once"}
        answer, again = [await ops.post(path, json=form, headers=key) for _ in range(2)]
        recall = answer.json()
        assert (again.json(), again.headers["Idempotent-Replayed"]) == (recall, "true")
        assert (answer.status_code, recall["gpus"], recall["noticed"]) == (201, [taken], True)
        shown = (await buyer.get(f"/v1/positions/{position_id}/access")).json()["recalls"]
        assert [(each["gpus"], each["from_ms"]) for each in shown] == [([taken], recall["from_ms"])]
        config = agent_config(venue, nodes[2], tmp_path)
        signed = await declaring.recall(config, trades[nodes[2].node_id], (nodes[2].gpus[0],), None)
        with pytest.raises(VenueRefused, match=r"not_found \(404\)"):
            await declaring.recall(config, position_id, (), None)
        by_node = {event.node: event for event in await venue.settled("buyer-10", 3)}
    back = [by_node[nodes[0].node_id], by_node[nodes[2].node_id]]
    lost = by_node[nodes[1].node_id]
    assert [PERIOD_S <= each.delivered_gpu_s < 2 * PERIOD_S for each in (*back, lost)] == 3 * [True]
    assert [each.damages_micros for each in back] == [0, 0]
    assert lost.damages_micros == min(lost.bond_micros, 120 * PRICE_MICROS // 3600)
    told = [
        (event.recall_id, event.noticed) for event in await venue.delivery_events() if event.type == "gpus_recalled"
    ]
    assert told == [(recall["recall_id"], True), (signed["recall_id"], True)]


def agent_config(venue: Venue, node: TestNode, folder: Path) -> AgentConfig:
    """The configuration of an operator's machine that holds this node's key."""
    (folder / "state").mkdir()
    (folder / "state" / "node.key").write_text(node.key.private_bytes_raw().hex())
    (folder / "state" / "node.key").chmod(0o600)
    (folder / "agent.toml").write_text(
        f'state_dir = "state"\npolicy = "policy.toml"\napi_key = "k"\napi_key_file = "k"\n[venue]\n'
        f'gateway_url = "{venue.url}"\ndelivery_url = "{venue.url}"\nmarket_data_url = "{venue.url}"\n'
    )
    return AgentConfig.load(folder / "agent.toml")


@pytest.mark.slow
async def test_maintenance_is_declared_before_the_trade_shown_to_everyone_and_paid_by_nobody(
    venue: Venue, tmp_path: Path
):
    node, stranger = TestNode(seed=12, gpus=gpus_of(12, 2)), TestNode(seed=14)
    ops, other = await venue.join("ops-12", "operate"), await venue.join("other-12", "operate")
    buyer = await venue.join("buyer-12", "read", "trade")
    (contract,) = venue.contracts(1, ahead_s=20)  # the node comes up before the gate
    middle_ms, end_ms = (1000 * contract_start_s(contract) + PERIOD_S * n for n in (500, 1_000))
    later = {"start_ms": end_ms + 600_000, "end_ms": end_ms + 1_200_000}
    async with venue.site("ops-12", node):
        path, signed_path = f"/v1/nodes/{node.node_id}/maintenance", f"/v1/nodes/{node.node_id}/signed-maintenance"
        assert (await other.post(path, json=later)).status_code == 404
        assert (await ops.post(path, json=later | {"start_ms": 1_000})).status_code == 422
        key = {"Idempotency-Key": "once-too"}
        assert [(await ops.post(path, json=later, headers=key)).status_code for _ in range(2)] == [201, 201]
        message = {"agent": node.node_id, "start_ms": middle_ms, "end_ms": end_ms, "wall_ms": 1}
        forged = stranger.sign(NodeMaintenance, **message).canonical()
        assert (await venue.http.post(signed_path, content=forged)).json()["code"] == "bad_node_signature"
        strayed = stranger.sign(NodeMaintenance, **message | {"agent": stranger.node_id}).canonical()
        assert (await venue.http.post(signed_path, content=strayed)).json()["code"] == "not_this_node"
        signed = node.sign(NodeMaintenance, **message).canonical()
        declared, again = [await venue.http.post(signed_path, content=signed) for _ in range(2)]
        assert (declared.status_code, again.json()) == (201, declared.json())
        window = {"start_ms": middle_ms, "end_ms": end_ms}
        assert (await venue.node(node.node_id))["maintenance"] == [window, later]
        await venue.offer("ops-12", node, [contract], 2)
        await venue.buy("buyer-12", contract, 2)
        (settled,) = await venue.settled("buyer-12", 1)
        with pytest.raises(VenueRefused, match=r"malformed_request \(422\)"):
            await declaring.maintenance(agent_config(venue, node, tmp_path), middle_ms, end_ms)
    shown = (await buyer.get(f"/v1/positions/{settled.position_id}/access")).json()
    assert shown["maintenance"] == [window]
    assert (settled.excused_gpu_s, settled.damages_micros) == (PERIOD_S, 0)
    assert PERIOD_S - 1 <= settled.delivered_gpu_s <= PERIOD_S
    told = [event for event in await venue.delivery_events() if event.type == "maintenance_declared"]
    assert [(event.start_ms, event.end_ms) for event in told] == [tuple(later.values()), (middle_ms, end_ms)]


async def lose_one(venue: Venue, agent: PlayedAgent) -> None:
    await venue.sleep_until(await venue.leased(agent) + PERIOD_S / 2)
    lost = agent.node.gpus[1]
    agent.facts = lambda uuid: {"present": False, "healthy": False} if uuid == lost else {}


async def fail_hook(venue: Venue, agent: PlayedAgent) -> None:
    agent.opens = False


async def ignore_gate(venue: Venue, agent: PlayedAgent) -> None:
    agent.works = False

    async def is_out() -> bool:
        return (await venue.node(agent.node.node_id))["reason"] == "gate_challenge_missed"

    await venue.wait_for(is_out, 60)
    agent.works = True

    async def is_back() -> bool:
        return (await venue.node(agent.node.node_id))["state"] == "active"

    await venue.wait_for(is_back)


async def void(venue: Venue, agent: PlayedAgent) -> None:
    await venue.sleep_until(await venue.leased(agent) + PERIOD_S / 2)
    contract = next(iter(agent.leases.values())).contract
    await venue.log.send("admin", VoidContract(contract=contract, reason="meter_failed"))

    async def is_stopped() -> bool:
        return not agent.leases

    await venue.wait_for(is_stopped)


async def fork(venue: Venue, agent: PlayedAgent) -> None:
    await venue.sleep_until(await venue.leased(agent) + PERIOD_S / 3)
    node = agent.node
    other = TestNode(seed=node.seed, gpus=node.gpus, seq=node.seq - 1)
    forged = other.report(agent.nonce, 0, 1)
    refused = await venue.http.post(f"/v1/nodes/{node.node_id}/reports", content=forged.canonical())
    assert refused.json()["code"] == "report_forked"

    async def is_closed() -> bool:
        return not agent.leases

    await venue.wait_for(is_closed)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def broken(venue: Venue) -> dict[str, Delivery]:
    """Sites at once, each in a period of its own, so that nobody buys another's GPUs."""
    breaks = {"lost GPU": lose_one, "failing hook": fail_hook, "missed gate": ignore_gate, "void contract": void}
    breaks |= {"forked chain": fork}
    clients = []
    for seed in range(2, 2 + len(breaks)):
        await venue.join(f"ops-{seed}", "operate")
        clients.append(await venue.join(f"buyer-{seed}", "read", "trade"))
    contracts = venue.contracts(len(breaks), ahead_s=22)
    runs = [deliver(venue, clients[n], 2 + n, contracts[n], each) for n, each in enumerate(breaks.values())]
    return dict(zip(breaks, await asyncio.gather(*runs), strict=True))


@pytest.mark.slow
async def test_a_gpu_lost_in_mid_delivery_stops_counting_and_leaves_the_market(venue: Venue, broken):
    run = broken["lost GPU"]
    kept, lost = run.agent.node.gpus
    facts = await venue.node(run.agent.node.node_id)
    # On a starved machine reports come late, and time without any counts for nobody.
    starved_s = sum(run.idle_s(gpu, "no_report", "unproven") for gpu in (kept, lost))
    assert run.settled.delivered_gpu_s + starved_s >= PERIOD_S, run.outcome.intervals
    assert run.settled.delivered_gpu_s <= PERIOD_S + PERIOD_S // 2 + 1
    assert (run.idle_s(kept, "gpu_lost"), run.idle_s(lost, "gpu_lost") > 0) == (0, True), run.outcome.intervals
    assert (facts["state"], facts["reason"], facts["fit_gpus"]) == ("active", "gpu_lost", [kept])
    registered = [event for event in await venue.events("node_registered") if event.node == facts["node"]]
    assert [len(event.gpus) for event in registered] == [2, 1]


async def test_a_start_hook_that_fails_leaves_the_position_undelivered_and_the_buyer_pays_nothing(broken):
    run = broken["failing hook"]
    assert (run.settled.delivered_gpu_s, run.receipt["paid_micros"]) == (0, 0)
    assert run.receipt["refunded_micros"] == 2 * -(-PRICE_MICROS * PERIOD_S // 3600)
    assert run.receipt["damages_micros"] > 0
    assert [event.reason for event in run.told if event.type == "lease_ended"] == ["start_hook_failed"]


async def test_a_node_that_does_not_answer_at_the_gate_fails_its_lease_and_must_prove_itself_anew(broken):
    run = broken["missed gate"]
    assert run.settled.delivered_gpu_s == 0
    assert [event.reason for event in run.told if event.type == "lease_ended"] == ["challenge_too_late"]
    states = [(event.state, event.reason) for event in run.told if event.type == "node_state_changed"]
    assert states == [
        ("active", "challenge_passed"),
        ("enrolled", "gate_challenge_missed"),
        ("active", "challenge_passed"),
    ]


async def test_a_contract_that_is_void_in_mid_delivery_is_served_no_longer_and_costs_nothing(broken):
    run = broken["void contract"]
    assert (run.settled.excused_gpu_s, run.settled.delivered_gpu_s) == (2 * PERIOD_S, 0)
    assert (run.receipt["paid_micros"], run.receipt["damages_micros"]) == (0, 0)
    assert [event.reason for event in run.told if event.type == "lease_ended"] == ["contract_void"]


async def test_a_node_that_is_barred_in_mid_delivery_is_told_to_close_its_lease(venue: Venue, broken):
    run = broken["forked chain"]
    facts = await venue.node(run.agent.node.node_id)
    assert (facts["state"], facts["reason"], run.agent.leases) == ("quarantined", "forked_chain", {})
    assert [(event.ok, event.reason) for event in run.told if event.type == "lease_ended"] in (
        [(False, "silent")],
        [(True, "ended")],
    )
    assert 0 < run.settled.delivered_gpu_s < 2 * PERIOD_S
    assert run.receipt["damages_micros"] > 0
