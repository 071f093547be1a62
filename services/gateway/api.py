"""The gateway's HTTP side: reads, accounts and keys on FastAPI, the private WebSocket, order entry before them."""

from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI

from services.gateway.commands.key_timers import KeyTimers
from services.gateway.context import Desk
from services.gateway.keys.registry import KeyRegistry
from services.gateway.routes import accounts, openapi, reading
from services.gateway.routes.capacity import CapacityChanges
from services.gateway.routes.fleets import make_fleet_router
from services.gateway.routes.hot_path import Front
from services.gateway.routes.socket import PATH, PrivateSocket
from services.kit.auth import refuse_undeclared_routes
from services.kit.http import make_app
from services.kit.keys import load_private_key
from services.kit.openapi import serve_document

SERVICE_KEY = "gateway"


def build_api(desk: Desk) -> FastAPI:
    """Returns the application; fails where a route declares no scope."""
    app = make_app("gateway", desk.readiness, desk.settings.body_limits)
    desk.note_timer = KeyTimers(desk).note
    app.include_router(reading.make_router(desk))
    registry = KeyRegistry(desk)
    app.include_router(accounts.make_router(desk, registry))
    app.include_router(make_fleet_router(desk, registry, service_key(desk.settings.keys_dir)))
    app.add_api_websocket_route(PATH, PrivateSocket(desk).serve)
    serve_document(app, "Orders, accounts and keys of an exchange for GPU-hours", openapi.add_bare_operations)
    refuse_undeclared_routes(app)
    return app


def build_front(desk: Desk) -> Front:
    """Returns what the server serves: order entry before the application."""
    return Front(build_api(desk), CapacityChanges(desk), desk.settings.body_limits, desk.readiness)


def service_key(keys_dir: Path) -> Callable[[], Ed25519PrivateKey]:
    """Returns a function that reads the gateway's own key, once."""
    loaded: list[Ed25519PrivateKey] = []

    def key() -> Ed25519PrivateKey:
        if not loaded:
            loaded.append(load_private_key(keys_dir, SERVICE_KEY))
        return loaded[0]

    return key
