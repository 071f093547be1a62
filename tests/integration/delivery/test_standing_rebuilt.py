"""What a node has earned, and what is asked of it, is there again after its database was lost.

Tier: delivery. About a minute.
"""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from clients.cli.node import show_
from schemas.hubs import HubClaim, HubReceipt
from schemas.nodes import signing_bytes
from services.delivery.effects import now_ms
from services.kit.keys import public_hex, sign_hex
from tests.fixtures.delivery import TestNode, gpu_uuid
from tests.integration.delivery.conftest import Venue, make_database, open_venue

KEY = Ed25519PrivateKey.from_private_bytes(b"\7" * 32)
SETTINGS = {
    "level_day_periods": 1,
    "level_t2_days": 1,
    "level_t3_days": 1_000,
    "level_positions_min": 1,
    "level_two_sided_min": 0,
    "level_interval_s": 0.2,
}
MOVING = ("as_of_ms", "days", "score")


def receipt_of(node: TestNode, trip_us: int) -> HubReceipt:
    """A beacon's word on a node."""
    facts = {"hub": "CNE", "agent": node.node_id, "trip_us": trip_us, "exchanges": 5, "measured_ms": now_ms()}
    unsigned = HubReceipt(**facts, signature="0" * 128)
    return unsigned.model_copy(update={"signature": sign_hex(KEY, signing_bytes(unsigned))})


async def standing(venue: Venue, node: TestNode) -> dict:
    """All that a node has earned and all that is asked of it, as everyone may read it."""
    view = await venue.node(node.node_id)
    record = (await venue.http.get(f"/v1/nodes/{node.node_id}/reputation")).json()
    digests = (await venue.http.get("/v1/driver-digests")).json()["items"]
    shown = {name: view[name] for name in ("state", "level", "level_held", "audited_until_ms", "hub_known")}
    return shown | {"record": {name: record[name] for name in record if name not in MOVING}, "digests": digests}


@pytest.mark.slow
async def test_level_holds_audit_hub_digests_and_reputation_outlive_a_lost_database(
    own_kafka, fresh_database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    hubs = tmp_path / "hubs.csv"
    hubs.write_text(f"hub,url,public_key,bound_ms\nCNE,https://beacon.example,{public_hex(KEY)},8\n")
    node = TestNode(gpus=(gpu_uuid(1),))
    digest = {"driver_version": "570.86.15", "library_sha256": "d" * 64, "source": "NVIDIA's installer"}
    async with AsyncExitStack() as stack:
        changed = SETTINGS | {"hub_beacons": hubs}
        venue = await stack.enter_async_context(open_venue(own_kafka.address, fresh_database, tmp_path, changed))
        async with venue.delivery():
            await venue.join("buyer")
            await venue.join("ops")
            admin = await venue.join("person", "admin")
            agent = await stack.enter_async_context(venue.site("ops", node))
            (contract,) = venue.contracts(1)
            await venue.offer("ops", node, [contract], 1)
            await venue.buy("buyer", contract, 1)
            await venue.leased(agent)
            await venue.settled("buyer", 1)

            async def is_t2() -> bool:
                return (await venue.node(node.node_id))["level"] == "T2"

            await venue.wait_for(is_t2)
            claim = node.sign(HubClaim, agent=node.node_id, receipt=receipt_of(node, 20_000))
            path = f"/v1/nodes/{node.node_id}"
            assert (await venue.http.post(f"{path}/hub", content=claim.canonical())).status_code == 200
            audit = {"reason": "visited", "valid_until_ms": 4_000_000_000_000}
            assert (await admin.post(f"{path}/audits", json=audit)).status_code == 200
            assert (await admin.post("/v1/driver-digests", json=digest)).status_code == 201
            before = await standing(venue, node)
        venue.settings = venue.settings.model_copy(update={"database_url": await make_database(fresh_database)})
        async with venue.delivery():
            assert await standing(venue, node) == before
            monkeypatch.setenv("HOURBOOK_DELIVERY_URL", venue.url)
            capsys.readouterr()
            await asyncio.to_thread(show_, node.node_id)
            lines = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines() if len(line.split()) > 1)
    assert lines["level_held"] == "hub_too_far: the beacon of CNE measured 20 ms, its nodes lie within 8 ms"
    assert (lines["hub_known.evidence"], lines["reputation.delivered_gpu_s"]) == ("measured", "6")
    assert lines["reputation.formula"].startswith("score = floor(1000 * delivered_gpu_s / owed_gpu_s")
    assert (before["level"], before["audited_until_ms"], before["hub_known"]["trip_us"]) == ("T2", 4 * 10**12, 20_000)
    assert [hold["reason"] for hold in before["level_held"]] == ["hub_too_far"]
    assert (before["record"]["positions"], before["record"]["delivered_gpu_s"]) == (1, 6)
    assert [each["library_sha256"] for each in before["digests"]] == ["d" * 64]
