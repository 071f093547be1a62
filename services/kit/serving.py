"""Serves an application on its port, with every bound on what comes in there."""

import asyncio
from collections.abc import Callable
from contextlib import nullcontext

import uvicorn
from starlette.types import ASGIApp

from services.kit.addresses import Forwarded
from services.kit.http_protocol import CountedSocket, bounded_protocol
from services.kit.settings import Settings
from services.kit.strangers import AddressGuard

KEEP_ALIVE_S = 75  # an agent reports every ten seconds, and needs no new connection for each report


async def serve(app: ASGIApp, settings: Settings, port: int, free: Callable[[str], bool] = lambda path: False) -> None:
    """Serves until cancelled. The process's own signal handling stays in charge.

    A client's address is that of its connection, or what one of the trusted proxies says of it. `free` is for the
    AddressGuard.
    """
    guarded = AddressGuard(app, settings, free)
    config = uvicorn.Config(
        # A client's own header must not choose the address that a key's list is checked with.
        Forwarded(guarded, settings.trusted_proxies) if settings.trusted_proxies else guarded,
        settings.host,
        port,
        http=bounded_protocol(settings),
        log_config=None,
        access_log=False,
        ws=CountedSocket,
        ws_max_size=settings.socket_message_bytes_max,
        lifespan="off",
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=2,
    )
    server = _Server(config)
    try:
        await server.serve()
    except asyncio.CancelledError:
        server.should_exit = True
        await server.shutdown()
        raise


class _Server(uvicorn.Server):
    """A uvicorn server that leaves the signals to services.kit.process."""

    def capture_signals(self):
        """Overrides uvicorn's own handlers with nothing."""
        return nullcontext()
