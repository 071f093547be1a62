"""What a node's software and its GPUs' load leave to ask: it holds the level and nothing else, until that is answered.

Tier: delivery. Half a minute beside the module's venue.
"""

import asyncio

import pytest

from tests.fixtures.delivery import TestNode, gpu_uuid
from tests.fixtures.node_agent import PlayedAgent
from tests.integration.delivery.conftest import Venue, open_venue

pytestmark = pytest.mark.asyncio(loop_scope="module")

# The played nodes call themselves real and prove on this machine's CPU: what that is worth is not judged here.
PROOFS = {"challenge_n": 256, "challenge_memory_permille": 1}
SETTINGS = {"load_ms_min": 1_000, "proof_layers_off": "score,residency"} | PROOFS
KNOWN = "c2f8e560da76086bbd83941ec5f2e14626a32ad53d9ffc8619e01bdf56d56b22"  # 550.163.01, as the digest book has it
LATER = "d" * 64


def real_node(seed: int, driver: str = "550.163.01", library: str = KNOWN, **more: object) -> TestNode:
    """A node whose telemetry is no stand-in's."""
    facts = {"driver_version": driver, "kernel_driver_version": f"NVRM version: {driver}", "library_sha256": library}
    software = facts | {"nvml_simulated": False} | more
    return TestNode(seed=seed, gpus=(gpu_uuid(seed),), software=software)


async def standing(venue: Venue, node: TestNode) -> tuple[str, str, list[str]]:
    """A node's state, its level, and what holds that."""
    view = await venue.node(node.node_id)
    return view["state"], view["level"], [hold["reason"] for hold in view["level_held"]]


async def stands(venue: Venue, node: TestNode, state: str, level: str, *holds: str) -> None:
    """Waits until a node stands so."""

    async def is_so() -> bool:
        return await standing(venue, node) == (state, level, list(holds))

    await venue.wait_for(is_so)


async def test_a_known_library_rises_and_an_unknown_driver_sells_at_its_level_until_the_answer_is_passed_on(venue):
    known, unknown = real_node(101), real_node(102, "570.86.15", LATER)
    admin = await venue.join("venue-admin", "admin")
    async with venue.site("ops-known", known), venue.site("ops-unknown", unknown):
        await stands(venue, known, "active", "T1")
        await stands(venue, unknown, "active", "T0", "driver_unknown")
        form = {"driver_version": "570.86.15", "library_sha256": LATER, "source": "NVIDIA's installer of 570.86.15"}

        async def is_passed_on() -> bool:
            return (await admin.post("/v1/driver-digests", json=form)).status_code == 201

        await venue.wait_for(is_passed_on)
        again = (await admin.post("/v1/driver-digests", json=form)).json()
        listed = (await venue.http.get("/v1/driver-digests")).json()["items"]
        assert listed == [again] == [form | {"added_by": "venue-admin", "added_ms": again["added_ms"]}]
        await stands(venue, unknown, "active", "T1")
    told = [event for event in await venue.delivery_events() if event.node == unknown.node_id]
    holds = [(event.reason, event.held) for event in told if event.type == "level_hold_changed"]
    assert holds == [("driver_unknown", True), ("driver_unknown", False)]
    registered = [event.level for event in await venue.events("node_registered") if event.node == unknown.node_id]
    assert registered == ["T0", "T1"]


@pytest.mark.slow
async def test_another_library_under_a_known_driver_holds_the_level_from_the_report_on_that_shows_it(venue):
    node = real_node(103)
    async with venue.site("ops-changed", node):
        await stands(venue, node, "active", "T1")
        node.software["library_sha256"] = "e" * 64
        await stands(venue, node, "active", "T1", "library_mismatch")
        node.software["library_sha256"] = KNOWN
        node.software["agent_version"] = "hourbook-agent 0.0.9"
        await stands(venue, node, "active", "T1", "agent_too_old")
        node.software["agent_version"] = "hourbook-agent 0.2.0"
        await stands(venue, node, "active", "T1")


async def test_a_downgraded_agent_does_not_enroll_and_hears_why(venue):
    node = real_node(104, agent_version="hourbook-agent 0.0.9")
    agent = PlayedAgent(node, venue.http)
    answer = await agent.post("/v1/nodes", node.enrolment(await venue.token("ops-old", "token-old")))
    assert (answer.status_code, answer.json()["code"], answer.json()["detail"]) == (
        422,
        "agent_too_old",
        "hourbook-agent 0.0.9 is older than 0.1.0, the oldest that this venue takes",
    )


async def test_only_the_venues_people_pass_a_digest_on(venue):
    operator = await venue.join("ops-curious", "operate")
    form = {"driver_version": "570.86.15", "library_sha256": "f" * 64, "source": "me"}

    async def is_known() -> int | None:
        status = (await operator.post("/v1/driver-digests", json=form)).status_code
        return None if status == 401 else status

    assert await venue.wait_for(is_known) == 403
    admin = await venue.join("venue-admin-2", "admin")

    async def refusal() -> dict | None:
        answer = await admin.post("/v1/driver-digests", json=form | {"driver_version": "551.23"})
        return None if answer.status_code == 401 else answer.json()

    refused = await venue.wait_for(refusal)
    assert (refused["code"], refused["detail"]) == (
        "malformed_request",
        "driver_version: driver version 551.23 was never published for Linux",
    )


@pytest.mark.slow
async def test_a_load_that_power_clock_and_energy_do_not_fit_holds_the_level_until_they_do(venue):  # C05
    node, half_clock = real_node(105), {"utilisation_percent": 100, "power_mw": 30_000, "sm_clock_mhz": 345}
    async with venue.site("ops-load", node) as agent:
        await stands(venue, node, "active", "T1")
        agent.facts = lambda uuid: half_clock | {"energy_mj": 0}
        await stands(venue, node, "active", "T1", "implausible_load")

        async def is_proven_again() -> bool:
            told = [event for event in await venue.delivery_events() if event.node == node.node_id]
            return [event.cause for event in told if event.type == "challenge_passed"] == ["enrolment", "idle"]

        await venue.wait_for(is_proven_again)
        (hold,) = (await venue.node(node.node_id))["level_held"]
        assert hold["detail"].startswith(f"{gpu_uuid(105)}: ")
        agent.facts = lambda uuid: {"utilisation_percent": 100, "power_mw": 70_000}
        await stands(venue, node, "active", "T1")


async def test_a_board_that_only_its_operator_calls_an_h100_does_not_enroll(venue):  # C01
    node = real_node(106)
    board = node.inventory(gpu_uuid(106), 0).model_copy(update={"name": "NVIDIA GeForce GTX 1650"})
    request = node.enrolment(await venue.token("ops-relabel", "token-relabel"), gpus=(board,))
    refused = (await PlayedAgent(node, venue.http).post("/v1/nodes", request)).json()
    assert (refused["code"], refused["detail"]) == (
        "implausible_node",
        f"nothing shows that {gpu_uuid(106)} is H100SXM80: it has no PCI device id, and 'NVIDIA GeForce GTX 1650' is "
        "the name of no such board",
    )


@pytest.mark.slow
async def test_with_both_layers_off_neither_another_library_nor_an_idle_clock_at_full_load_is_seen(
    own_kafka, fresh_database, tmp_path
):
    off = SETTINGS | {"proof_layers_off": "score,residency,software,load"}
    async with open_venue(own_kafka.address, fresh_database, tmp_path, off) as venue, venue.delivery():
        node = real_node(107, library="e" * 64)
        async with venue.site("ops-unseen", node) as agent:
            agent.facts = lambda uuid: {"utilisation_percent": 100, "power_mw": 30_000, "energy_mj": 0}
            await stands(venue, node, "active", "T1")
            await asyncio.sleep(5)  # several histories are written meanwhile
            assert await standing(venue, node) == ("active", "T1", [])
