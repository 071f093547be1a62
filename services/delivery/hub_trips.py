"""What beacons measured of nodes: written down, and followed by a hold where a node is too far from its hub."""

from collections.abc import Mapping

from schemas.hubs import HubReceipt, HubView
from schemas.nodes import HubMeasured
from services.delivery.evidence import free_level
from services.delivery.holds import lift_hold, raise_hold
from services.delivery.hubs import HUB_TOO_FAR, Beacon, read_beacons, view_of
from services.delivery.settings import Settings
from services.delivery.store import Node, Store


async def take_receipt(
    store: Store, settings: Settings, node: Node, beacon: Beacon, receipt: HubReceipt, now_ms: int
) -> None:
    """Takes a receipt that was checked; one that is not later than the last changes nothing."""
    measured = HubMeasured(
        node_id=node.node_id,
        received_ms=now_ms,
        hub=receipt.hub,
        trip_us=receipt.trip_us,
        measured_ms=receipt.measured_ms,
        receipt=receipt.canonical().decode(),
    )
    if not await put_trip(store, measured):
        return
    await store.record(node.node_id, measured)
    if receipt.trip_us > beacon.bound_us:
        figures = f"{receipt.trip_us / 1000:g} ms, its nodes lie within {beacon.bound_us / 1000:g} ms"
        await raise_hold(store, node.node_id, HUB_TOO_FAR, f"the beacon of {node.hub} measured {figures}", now_ms)
    elif await lift_hold(store, node.node_id, HUB_TOO_FAR, now_ms):
        await free_level(store, settings, node, now_ms)


async def put_trip(store: Store, measured: HubMeasured) -> bool:
    """Writes what a beacon measured of a node; says whether it is later than what is known."""
    row = (measured.node_id, measured.hub, measured.trip_us, measured.measured_ms)
    return await store.value("put_hub_trip", *row) is not None


async def hub_view(store: Store, settings: Settings, node_id: str) -> HubView:
    """Returns how a node's hub is known."""
    return view_of_trip(settings, await store.row("find_hub_trip", node_id))


def view_of_trip(settings: Settings, row: Mapping | None) -> HubView:
    """Returns how a node's hub is known from what a beacon measured, None where none did."""
    if row is None:
        return HubView(evidence="declared")
    return view_of(row["trip_us"], row["measured_ms"], read_beacons(settings.hub_beacons).get(row["hub"]))
