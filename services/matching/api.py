"""The HTTP side of matching: where the engine stands, and, for the administrator, what it holds at that point."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI

from matching_engine import Engine
from services.kit.auth import Authenticator, Caller, public, refuse_undeclared_routes
from services.kit.http import ProblemError, make_app


def make_matching_app(service, authenticator: Authenticator) -> FastAPI:
    """Return the application. Every answer is taken between two fetches, so it is exact at the `seq` that it names."""
    app = make_app("matching", service.readiness, service.settings.body_limits)
    Admin = Annotated[Caller, Depends(authenticator.require("admin"))]

    @app.get("/v1/engine")
    @public
    async def engine_state() -> dict[str, Any]:
        """Where the engine stands."""
        async with _at_rest(service) as engine:
            return _state(engine)

    @app.get("/v1/engine/balances")
    async def engine_balances(caller: Admin) -> dict[str, Any]:
        """All balances in micro-units, at the sequence given."""
        names = ("account", "asset", "available_micros", "held_micros")
        async with _at_rest(service) as engine:
            rows = [dict(zip(names, row, strict=True)) for row in engine.balances()]
            return _state(engine) | {"balance_digest": engine.balance_digest(), "balances": rows}

    @app.get("/v1/engine/positions")
    async def engine_positions(caller: Admin) -> dict[str, Any]:
        """All positions that the engine still holds, at the sequence given."""
        async with _at_rest(service) as engine:
            return _state(engine) | {"positions": engine.positions()}

    refuse_undeclared_routes(app)
    return app


@asynccontextmanager
async def _at_rest(service) -> AsyncIterator[Engine]:
    """Yield the engine between two fetches."""
    if service.matching is None:
        raise ProblemError("unavailable", "the engine is not restored yet", retryable=True)
    async with service.matching.at_rest:
        yield service.engine


def _state(engine) -> dict[str, Any]:
    return {
        "shard": engine.shard,
        "seq": engine.seq,
        "next_offset": engine.next_offset,
        "link": engine.link.hex(),
        "epoch": engine.epoch,
        "log_time_ms": engine.log_time_ms,
    }
