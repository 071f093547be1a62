"""Hubs by measurement: which beacon speaks for a hub, how far its nodes may be, which receipts can be believed."""

import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from schemas.complaints import pattern_of
from schemas.hubs import HubReceipt, HubView
from schemas.ids import Hub, PublicKey
from schemas.nodes import signing_bytes
from services.delivery.domain import DeliveryError
from services.delivery.tables import BadTable, read_table
from services.kit.keys import signature_holds

HUB_TOO_FAR = "hub_too_far"
AHEAD_MS_MAX = 60_000  # how far a beacon's wall clock may run ahead of ours


class ReceiptRefused(DeliveryError):
    """The receipt is not of the node's hub, or cannot be believed."""

    code = "hub_receipt_refused"


class Beacon(NamedTuple):
    """A hub's beacon, and within how many microseconds its nodes lie."""

    url: str
    public_key: str
    bound_us: int


@lru_cache
def read_beacons(path: Path) -> dict[str, Beacon]:
    """Returns the beacons by hub. Raises BadTable for a file that cannot be used."""
    columns = {"hub": _of(Hub), "url": _url, "public_key": _of(PublicKey), "bound_ms": _bound_us}
    beacons: dict[str, Beacon] = {}
    for line, row in read_table(path, columns):
        if row["hub"] in beacons:
            raise BadTable(path, line, "1 (hub)", "has a line already")
        beacons[row["hub"]] = Beacon(row["url"], row["public_key"], row["bound_ms"])
    return beacons


def check_receipt(
    receipt: HubReceipt, node_id: str, hub: str, beacon: Beacon | None, now_ms: int, age_ms_max: int
) -> None:
    """Raises ReceiptRefused for a receipt that says nothing of where this node is now."""
    if beacon is None:
        raise ReceiptRefused(f"hub {hub} has no beacon: it is taken as declared")
    if (receipt.hub, receipt.agent) != (hub, node_id):
        raise ReceiptRefused(f"the receipt is of {receipt.agent} at {receipt.hub}")
    if not signature_holds(beacon.public_key, receipt.signature, signing_bytes(receipt)):
        raise ReceiptRefused(f"the receipt is not signed by the beacon of {hub}")
    if not now_ms - age_ms_max <= receipt.measured_ms <= now_ms + AHEAD_MS_MAX:
        raise ReceiptRefused(f"the receipt is of {receipt.measured_ms}, too old or not yet")


def view_of(trip_us: int | None, measured_ms: int | None, beacon: Beacon | None) -> HubView:
    """Returns how a node's hub is known; a figure without a beacon that stands for it any more counts for nothing."""
    if trip_us is None or beacon is None:
        return HubView(evidence="declared")
    return HubView(evidence="measured", trip_us=trip_us, bound_us=beacon.bound_us, measured_ms=measured_ms)


def _of(kind: object):
    form = re.compile(pattern_of(kind))

    def parse(text: str) -> str:
        if not form.fullmatch(text):
            raise ValueError(f"{text!r} has another form")
        return text

    return parse


def _url(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s/?#]+(/[^\s?#]*)?", text):
        raise ValueError(f"{text!r} is no address like https://beacon.example")
    return text.rstrip("/")


def _bound_us(text: str) -> int:
    if not re.fullmatch(r"\d{1,6}(\.\d{1,3})?", text) or not float(text):
        raise ValueError(f"{text!r} is no number of milliseconds above 0")
    return round(float(text) * 1000)
