"""The gateway's HTTP side: order entry on bare routes, everything else on plain ones, and the private WebSocket."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI
from starlette.routing import Route

from services.gateway import accounts, openapi, reading
from services.gateway.desk import Desk
from services.gateway.order_entry import OrderEntry
from services.gateway.socket import PATH, PrivateSocket
from services.kit.auth import refuse_undeclared_routes
from services.kit.http import make_app
from services.kit.keys import load_private_key

SERVICE_KEY = "gateway"


def build_api(desk: Desk) -> FastAPI:
    """Returns the application; fails where a route declares no scope."""
    app = make_app("gateway", desk.readiness, desk.settings.body_bytes_max)
    app.include_router(reading.make_router(desk))
    app.include_router(accounts.make_router(desk, service_key(desk.settings.keys_dir)))
    app.add_api_websocket_route(PATH, PrivateSocket(desk).serve)
    app.router.routes[:0] = bare_routes(OrderEntry(desk))
    app.openapi = partial(openapi.document, app)
    refuse_undeclared_routes(app)
    return app


def bare_routes(entry: OrderEntry) -> list[Route]:
    """Returns the routes of order entry, to stand before all others; each checks signature and scope itself."""
    return [
        Route(operation.path, getattr(entry, operation.endpoint), methods=[operation.method])
        for operation in openapi.BARE_OPERATIONS
    ]


def service_key(keys_dir: Path) -> Callable[[], Ed25519PrivateKey]:
    """Returns a function that reads the gateway's own key, once."""
    loaded: list[Ed25519PrivateKey] = []

    def key() -> Ed25519PrivateKey:
        if not loaded:
            loaded.append(load_private_key(keys_dir, SERVICE_KEY))
        return loaded[0]

    return key
