"""Shows the venue how near the node is to its hub: the hub's beacon measures it, and what it signs is handed in."""

import logging

from agents.node.client import DeliveryClient
from agents.node.errors import BadAnswer, VenueRefused
from agents.node.identity import Identity
from schemas.hubs import HubClaim, HubReceipt, TripAnswer, TripStart
from schemas.nodes import node_id_of

EXCHANGES_MAX = 100
NO_SUCH_ROUTE = (404, 405)
log = logging.getLogger("hourbook.agent")


async def show_hub(identity: Identity, delivery: DeliveryClient, hub: str) -> None:
    """Has the node measured and hands the receipt in; where the hub has no beacon there is nothing to do.

    Raises VenueUnreachable, BadAnswer or VenueRefused, of the venue or the beacon.
    """
    try:
        beacons = (await delivery.hubs()).items
    except VenueRefused as refusal:
        if refusal.status in NO_SUCH_ROUTE:
            return  # a venue of before, to which hubs are declared
        raise
    beacon = next((each for each in beacons if each.hub == hub), None)
    if beacon is None:
        return
    agent = node_id_of(identity.public_key)
    receipt = await measured_by(identity, delivery, beacon.url.rstrip("/"))
    known = await delivery.claim_hub(identity.sign(HubClaim, agent=agent, receipt=receipt))
    bound_ms = (known.bound_us or 0) / 1000
    log.info("the beacon of %s measured %g ms; its nodes lie within %g ms", hub, receipt.trip_us / 1000, bound_ms)


async def measured_by(identity: Identity, delivery: DeliveryClient, url: str) -> HubReceipt:
    """Sends each token of a beacon back, signed, as soon as it comes; returns the receipt at the end."""
    agent = node_id_of(identity.public_key)
    reply = await delivery.trip(f"{url}/v1/trips", TripStart(public_key=identity.public_key))
    path = f"{url}/v1/trips/{reply.trip_id}"
    for _ in range(EXCHANGES_MAX):
        if reply.receipt is not None:
            return reply.receipt
        if reply.token is None:
            break
        answer = identity.sign(TripAnswer, agent=agent, trip_id=reply.trip_id, token=reply.token)
        reply = await delivery.trip(path, answer)
    raise BadAnswer(f"POST {path}: answered with neither a token nor a receipt, or with tokens for ever")
