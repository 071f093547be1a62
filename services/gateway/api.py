"""The gateway's HTTP side: order entry on the hot path, reads, accounts and keys on FastAPI, the private WebSocket."""

from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI

from services.gateway.commands.key_timers import KeyTimers
from services.gateway.context import GatewayContext
from services.gateway.keys.registry import KeyRegistry
from services.gateway.routes import accounts, fleets, reading
from services.gateway.routes.hot_path import HotPath
from services.gateway.routes.openapi import add_hot_routes
from services.gateway.routes.socket import PATH, PrivateSocket
from services.kit.auth import refuse_undeclared_routes
from services.kit.http import make_app
from services.kit.keys import load_private_key
from services.kit.openapi import serve_document

SERVICE_KEY = "gateway"


def build_api(gateway: GatewayContext) -> FastAPI:
    """Return the application; fails where a route declares no scope."""
    app = make_app("gateway", gateway.readiness, gateway.settings.body_limits)
    gateway.note_timer = KeyTimers(gateway).note
    app.include_router(reading.make_router(gateway))
    registry = KeyRegistry(gateway)
    app.include_router(accounts.make_router(gateway, registry))
    app.include_router(fleets.make_router(gateway, registry, service_key(gateway.settings.keys_dir)))
    app.add_api_websocket_route(PATH, PrivateSocket(gateway).serve)
    serve_document(app, "Orders, accounts and keys of an exchange for GPU-hours", add_hot_routes)
    refuse_undeclared_routes(app)
    return app


def build_hot_path(gateway: GatewayContext) -> HotPath:
    """Return what the server serves: order entry before the application."""
    return HotPath(build_api(gateway), gateway)


def service_key(keys_dir: Path) -> Callable[[], Ed25519PrivateKey]:
    """Return a function that reads the gateway's own key, once."""
    loaded: list[Ed25519PrivateKey] = []

    def key() -> Ed25519PrivateKey:
        if not loaded:
            loaded.append(load_private_key(keys_dir, SERVICE_KEY))
        return loaded[0]

    return key
