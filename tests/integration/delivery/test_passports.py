"""Inspections beside the venue's own record, and a buyer who looks at his goods before he has enrolled anything.

Tier: delivery. Half a minute beside the module's venue.
"""

from typing import Any

import asyncpg
import httpx
import pytest

from schemas.delivery import HardwareInspected
from schemas.nodes import InspectedGpu, InspectionReport
from schemas.venue import LockHardware, OpenEscrow
from tests.fixtures.delivery import TestNode, gpu_uuid, reading
from tests.fixtures.node_agent import PlayedAgent, mono_ms
from tests.integration.delivery.conftest import Venue

pytestmark = pytest.mark.asyncio(loop_scope="module")


def inspection(node: TestNode, nonce: str, uuid: str, **changes: Any) -> InspectionReport:
    """A report of one GPU, signed by a machine's key."""
    gpu = InspectedGpu(inventory=node.inventory(uuid, 0), reading=reading(uuid))
    usual = {"agent": node.node_id, "public_key": node.public_key, "nonce": nonce, "gpus": (gpu,), "wall_ms": 1}
    usual |= {"driver_version": "570.86.15", "library_sha256": "a" * 64, "agent_version": "0.1.0"}
    return node.sign(InspectionReport, nvml_simulated=True, **usual | changes)


async def nonce_for(venue: Venue, client: httpx.AsyncClient) -> str:
    """A nonce that the venue gives an account, once it knows the account's key."""

    async def given() -> str | None:
        answer = await client.post("/v1/inspections/nonces")
        return answer.json()["nonce"] if answer.status_code == 201 else None

    return await venue.wait_for(given)


async def deposit(venue: Venue, report: InspectionReport) -> tuple[int, str]:
    """Deposits a report; returns the status and the code of the refusal, or the inspection's id."""
    answer = await venue.http.post("/v1/inspections", content=report.canonical())
    return answer.status_code, answer.json().get("code") or answer.json()["inspection_id"]


async def published(venue: Venue, inspection_id: str) -> HardwareInspected:
    """The event in which delivery publishes an inspection."""

    async def found() -> HardwareInspected | None:
        events = [each for each in await venue.delivery_events() if each.type == "hardware_inspected"]
        return next((each for each in events if each.inspection_id == inspection_id), None)

    return await venue.wait_for(found)


async def ask(venue: Venue, query: str, *arguments: object) -> Any:
    """Returns the first value of a query on delivery's tables."""
    connection = await asyncpg.connect(venue.settings.database_url, server_settings={"search_path": "delivery"})
    try:
        return await connection.fetchval(query, *arguments)
    finally:
        await connection.close()


async def test_an_inspection_carries_what_the_node_reported_before(venue: Venue):  # L12
    owner = await venue.join("owner", "read", "operate")
    node = TestNode(seed=41, gpus=(gpu_uuid(41),))
    async with venue.site("owner", node) as agent:
        agent.facts = lambda uuid: {"ecc_corrected": 7, "remapped_correctable": 3, "temperature_c": 88}

        async def shown() -> bool:
            return await ask(venue, "select remapped_correctable from gpu_history where uuid = $1", gpu_uuid(41)) == 3

        await venue.wait_for(shown)
        status, inspection_id = await deposit(venue, inspection(node, await nonce_for(venue, owner), gpu_uuid(41)))
    assert status == 201
    event = await published(venue, inspection_id)
    (passport,) = event.passports
    assert (event.account, event.hub, event.node_gpus, event.currencies) == ("owner", "CNE", 1, ("CNY",))
    assert (passport.serial, passport.serial_elsewhere) == (node.inventory(gpu_uuid(41), 0).serial, False)
    assert (passport.ecc_corrected, passport.remapped_correctable, passport.temperature_c_max) == (7, 3, 88)
    assert passport.reports > 0 and passport.reported_ms > 0


async def test_what_a_node_says_of_anothers_gpus_goes_into_nobodys_record(venue: Venue):
    owner = await venue.join("rivaled", "read", "operate")
    await venue.join("rival", "read", "operate")
    node, rival = (TestNode(seed=seed, gpus=(gpu_uuid(seed),)) for seed in (45, 46))
    async with venue.site("rivaled", node), venue.site("rival", rival) as agent:
        bad = reading(gpu_uuid(45), ecc_uncorrected=7, temperature_c=120, xid=(79,))
        start_ms, agent.mono_ms = agent.mono_ms, mono_ms()
        lie = rival.report(agent.nonce, start_ms, agent.mono_ms, gpus=(reading(gpu_uuid(46), temperature_c=77), bad))
        agent.waiting.append(lie)

        async def shown() -> bool:
            return await ask(venue, "select temperature_c_max from gpu_history where uuid = $1", gpu_uuid(46)) == 77

        await venue.wait_for(shown)
        status, inspection_id = await deposit(venue, inspection(node, await nonce_for(venue, owner), gpu_uuid(45)))
    assert status == 201
    (passport,) = (await published(venue, inspection_id)).passports
    assert (passport.ecc_uncorrected, passport.temperature_c_max, passport.xids) == (0, 35, ())


async def test_a_message_names_a_gpu_once_and_shows_its_own_reading(venue: Venue):
    owner = await venue.join("twice", "read", "operate")
    node = TestNode(seed=47, gpus=(gpu_uuid(47),))
    await PlayedAgent(node, venue.http).enrol(await venue.token("twice", "t-47"))
    own = InspectedGpu(inventory=node.inventory(gpu_uuid(47), 0), reading=reading(gpu_uuid(47)))
    other = InspectedGpu(inventory=node.inventory(gpu_uuid(47), 0), reading=reading(gpu_uuid(48)))
    nonce = await nonce_for(venue, owner)
    for gpus in ((own, own), (other,)):
        report = inspection(node, nonce, gpu_uuid(47), gpus=gpus)
        assert await deposit(venue, report) == (400, "malformed_request")
    double = node.report("0" * 64, 0, 1, gpus=(reading(gpu_uuid(47)), reading(gpu_uuid(47), present=False)))
    answer = await venue.http.post(f"/v1/nodes/{node.node_id}/reports", content=double.canonical())
    assert (answer.status_code, answer.json()["detail"]) == (400, f"gpus: {gpu_uuid(47)} is there twice")


async def test_a_barred_node_inspects_nothing(venue: Venue):  # L10
    owner = await venue.join("barred", "read", "operate")
    node = TestNode(seed=42, gpus=(gpu_uuid(42),))
    await PlayedAgent(node, venue.http).enrol(await venue.token("barred", "t-42"))
    nonce = await nonce_for(venue, owner)
    await ask(venue, "update node set state = 'quarantined' where node_id = $1 returning 1", node.node_id)
    assert await deposit(venue, inspection(node, nonce, gpu_uuid(42))) == (403, "node_barred")


async def test_a_buyer_inspects_what_he_received_with_a_key_that_is_no_nodes_yet(venue: Venue):
    await venue.join("vendor", "read", "operate")
    buyer = await venue.join("receiver", "read", "trade")
    stranger = await venue.join("onlooker", "read", "trade")
    node = TestNode(seed=43, gpus=(gpu_uuid(43),))
    machine = TestNode(seed=44, gpus=(gpu_uuid(43),))
    async with venue.site("vendor", node):
        lock = LockHardware(listing_id="l-43", account="vendor", gpus=(gpu_uuid(43),))
        terms = {"asset": "CNY", "amount_micros": 1_000_000, "fee_micros": 0}
        escrow = OpenEscrow(escrow_id="e-43", listing_id="l-43", buyer="receiver", seller="vendor", **terms)
        await venue.log.send("listings", lock, escrow)

        async def held() -> bool:
            return await ask(venue, "select 1 from escrow where escrow_id = $1", "e-43") == 1

        await venue.wait_for(held)
        unasked = inspection(machine, "f" * 64, gpu_uuid(43))
        assert await deposit(venue, unasked) == (409, "inspection_nonce_refused")
        onlooker = inspection(machine, await nonce_for(venue, stranger), gpu_uuid(43))
        assert await deposit(venue, onlooker) == (404, "unknown_node")
        status, inspection_id = await deposit(venue, inspection(machine, await nonce_for(venue, buyer), gpu_uuid(43)))
        other = inspection(machine, await nonce_for(venue, buyer), gpu_uuid(41))
        assert await deposit(venue, other) == (403, "not_this_node")
        # Not the GPU that was sold: that is what he must be able to show.
        swapped = inspection(machine, await nonce_for(venue, buyer), gpu_uuid(99))
        assert (await deposit(venue, swapped))[0] == 201
    assert status == 201
    event = await published(venue, inspection_id)
    assert (event.account, event.state, event.passports) == ("receiver", None, ())
