"""The gateway's HTTP side: order entry on bare routes, everything else on plain ones, and the private WebSocket."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import APIRouter, Depends, FastAPI

from services.gateway import accounts, openapi, reading
from services.gateway.desk import Desk
from services.gateway.openapi import BareRoute
from services.gateway.order_entry import OrderEntry
from services.gateway.socket import PATH, PrivateSocket
from services.kit.auth import refuse_undeclared_routes
from services.kit.http import make_app
from services.kit.keys import load_private_key

SERVICE_KEY = "gateway"


def build_api(desk: Desk) -> FastAPI:
    """Returns the application; fails where a route declares no scope."""
    app = make_app("gateway", desk.readiness, desk.settings.body_bytes_max)
    app.include_router(order_router(desk))
    app.include_router(reading.make_router(desk))
    app.include_router(accounts.make_router(desk, service_key(desk.settings.keys_dir)))
    app.add_api_websocket_route(PATH, PrivateSocket(desk).serve)
    app.openapi = partial(openapi.document, app)
    refuse_undeclared_routes(app)
    return app


def order_router(desk: Desk) -> APIRouter:
    """Returns the routes that write to the command log."""
    entry, signed = OrderEntry(desk), [Depends(desk.signed())]
    router = APIRouter(route_class=BareRoute, tags=["order entry"], dependencies=signed)
    routes = (
        ("POST", "/v1/orders", entry.place, 201, openapi.PLACE),
        ("POST", "/v1/orders/cancel-all", entry.cancel_all, 200, openapi.CANCEL_ALL),
        ("DELETE", "/v1/orders", entry.cancel_by_client_id, 200, openapi.CANCEL_ONE_BY_CLIENT_ID),
        ("DELETE", "/v1/orders/{order_id}", entry.cancel, 200, openapi.CANCEL_ONE_BY_ID),
    )
    for method, path, endpoint, status, described in routes:
        router.add_api_route(path, endpoint, methods=[method], status_code=status, openapi_extra=described)
    return router


def service_key(keys_dir: Path) -> Callable[[], Ed25519PrivateKey]:
    """Returns a function that reads the gateway's own key, once."""
    loaded: list[Ed25519PrivateKey] = []

    def key() -> Ed25519PrivateKey:
        if not loaded:
            loaded.append(load_private_key(keys_dir, SERVICE_KEY))
        return loaded[0]

    return key
