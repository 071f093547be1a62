"""HTTP for hubs: which are measured and how, for everyone; and what a node's beacon has signed."""

from fastapi import FastAPI, Request, Response

from schemas.hubs import HubBeacon, HubBeacons, HubClaim, HubView
from services.delivery.edge_api import JSON, body_of, read_body
from services.delivery.effects import Effects, now_ms
from services.delivery.hub_trips import hub_view, take_receipt
from services.delivery.hubs import check_receipt, read_beacons
from services.delivery.moving import check_not_out
from services.delivery.settings import Settings
from services.delivery.signatures import signed_node
from services.kit.auth import public
from services.kit.outbox import PromptPublisher


def add_hub_routes(app: FastAPI, settings: Settings, effects: Effects, publisher: PromptPublisher) -> None:
    """Adds reading of beacons, and handing in of their receipts."""
    beacons = read_beacons(settings.hub_beacons)

    @app.get("/v1/hubs", response_model=HubBeacons)
    @public
    async def list_hubs() -> Response:
        items = tuple(HubBeacon(hub=hub, **beacon._asdict()) for hub, beacon in sorted(beacons.items()))
        return Response(HubBeacons(items=items).canonical(), media_type=JSON)

    @app.post("/v1/nodes/{node_id}/hub", response_model=HubView, openapi_extra=body_of(HubClaim))
    @public
    async def claim_hub(node_id: str, request: Request) -> Response:
        claim = await read_body(request, HubClaim)
        node, received_ms = await signed_node(effects.pool, node_id, claim), now_ms()
        check_not_out(node)
        beacon = beacons.get(node.hub)
        check_receipt(claim.receipt, node_id, node.hub, beacon, received_ms, settings.hub_receipt_ms_max)
        async with effects.transaction() as store:
            locked = await store.node(node_id, lock=True)
            await take_receipt(store, settings, locked, beacon, claim.receipt, received_ms)
            view = await hub_view(store, settings, node_id)
        await publisher.published()
        return Response(view.canonical(), media_type=JSON)
