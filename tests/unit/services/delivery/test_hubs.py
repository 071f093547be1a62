"""Hubs: what the file of beacons takes, and which receipts say anything."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.hubs import HubReceipt, HubView
from schemas.nodes import signing_bytes
from services.delivery.hubs import Beacon, ReceiptRefused, check_receipt, read_beacons, view_of
from services.delivery.settings import Settings
from services.delivery.tables import BadTable
from services.kit.keys import public_hex, sign_hex

KEY = Ed25519PrivateKey.from_private_bytes(b"\7" * 32)
BEACON = Beacon("https://beacon.example", public_hex(KEY), 8_000)
NODE, NOW_MS, AGE_MS = "node-0123456789abcdef", 1_000_000_000, 600_000
HEAD = "hub,url,public_key,bound_ms\n"


def receipt(key: Ed25519PrivateKey = KEY, **changes: object) -> HubReceipt:
    facts = {"hub": "CNE", "agent": NODE, "trip_us": 3_000, "exchanges": 5, "measured_ms": NOW_MS - 1}
    unsigned = HubReceipt(**facts | changes, signature="0" * 128)
    return unsigned.model_copy(update={"signature": sign_hex(key, signing_bytes(unsigned))})


def test_a_beacons_own_fresh_receipt_is_believed():
    check_receipt(receipt(), NODE, "CNE", BEACON, NOW_MS, AGE_MS)


@pytest.mark.parametrize(
    ("wrong", "beacon", "reason"),
    [
        (receipt(), None, "hub CNE has no beacon: it is taken as declared"),
        (receipt(agent="node-ffffffffffffffff"), BEACON, "the receipt is of node-ffffffffffffffff at CNE"),
        (receipt(hub="CNW"), BEACON, f"the receipt is of {NODE} at CNW"),
        (
            receipt(Ed25519PrivateKey.from_private_bytes(b"\1" * 32)),
            BEACON,
            "the receipt is not signed by the beacon of CNE",
        ),
        (receipt().model_copy(update={"trip_us": 1}), BEACON, "the receipt is not signed by the beacon of CNE"),
        (
            receipt(measured_ms=NOW_MS - AGE_MS - 1),
            BEACON,
            f"the receipt is of {NOW_MS - AGE_MS - 1}, too old or not yet",
        ),
        (receipt(measured_ms=NOW_MS + 60_001), BEACON, f"the receipt is of {NOW_MS + 60_001}, too old or not yet"),
    ],
)
def test_a_receipt_that_says_nothing_of_this_node_here_and_now_is_refused(wrong, beacon, reason):
    with pytest.raises(ReceiptRefused) as refused:
        check_receipt(wrong, NODE, "CNE", beacon, NOW_MS, AGE_MS)
    assert refused.value.detail == reason


def test_a_hub_is_shown_as_measured_only_while_a_beacon_stands_for_it():
    assert view_of(3_000, 5, BEACON) == HubView(evidence="measured", trip_us=3_000, bound_us=8_000, measured_ms=5)
    assert view_of(3_000, 5, None) == view_of(None, None, BEACON) == HubView(evidence="declared")


def test_the_venues_own_file_measures_no_hub():
    assert read_beacons(Settings().hub_beacons) == {}


def test_a_beacon_is_read_with_its_bound_in_microseconds(tmp_path: Path):
    path = tmp_path / "hubs.csv"
    path.write_text(f"{HEAD}CNE,https://beacon.example/,{BEACON.public_key},8\n")
    assert read_beacons(path) == {"CNE": BEACON}


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (f"cne,https://b,{'a' * 64},8", ":2: column 1 (hub): 'cne' has another form"),
        (f"CNE,b,{'a' * 64},8", ":2: column 2 (url): 'b' is no address like https://beacon.example"),
        ("CNE,https://b,abc,8", ":2: column 3 (public_key): 'abc' has another form"),
        (f"CNE,https://b,{'a' * 64},0", ":2: column 4 (bound_ms): '0' is no number of milliseconds above 0"),
        (f"CNE,https://b,{'a' * 64},8\nCNE,https://c,{'a' * 64},9", ":3: column 1 (hub): has a line already"),
    ],
)
def test_a_malformed_file_of_beacons_is_refused_in_one_line(tmp_path: Path, row: str, problem: str):
    path = tmp_path / "hubs.csv"
    path.write_text(f"{HEAD}{row}\n")
    with pytest.raises(BadTable) as refused:
        read_beacons(path)
    assert str(refused.value) == f"{path}{problem}"
