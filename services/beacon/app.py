"""Plugs the beacon together: settings → key → HTTP."""

import asyncio
import os
import time
from typing import TypeVar

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI, Request, Response
from pydantic import ValidationError

from schemas.base import Model
from schemas.hubs import TripAnswer, TripReply, TripStart
from services.beacon.settings import Settings
from services.beacon.trips import Trips
from services.kit.auth import public, refuse_undeclared_routes
from services.kit.http import ProblemError, make_app
from services.kit.keys import public_hex
from services.kit.logs import configure_logs
from services.kit.process import run_service
from services.kit.readiness import Readiness
from services.kit.serving import serve

NAME = "beacon"
JSON = "application/json"
Message = TypeVar("Message", bound=Model)


def main() -> None:
    """Runs the beacon until it is told to stop."""
    try:
        settings = Settings()
    except ValidationError as error:
        first = error.errors()[0]
        raise SystemExit(f"HOURBOOK_{str(first['loc'][0]).upper()}: {first['msg']}") from None
    configure_logs(NAME, settings.log_level)
    run_service(lambda tasks: start(tasks, settings))


async def start(tasks: asyncio.TaskGroup, settings: Settings) -> None:
    """Starts serving as a task of the group."""
    key = load_or_make_key(settings)
    structlog.get_logger().info("beacon", hub=settings.beacon_hub, public_key=public_hex(key))
    trip_us_max = int(settings.beacon_trip_s_max * 1_000_000)
    limits = (settings.beacon_exchanges, trip_us_max, settings.beacon_trips_max)
    trips = Trips(settings.beacon_hub, key, *limits, clock_us, lambda: time.time_ns() // 1_000_000)
    app = make_app(NAME, Readiness(), settings.body_limits)
    add_routes(app, trips)
    refuse_undeclared_routes(app)
    tasks.create_task(serve(app, settings, settings.beacon_port))


def add_routes(app: FastAPI, trips: Trips) -> None:
    """Adds what nodes call."""

    @app.post("/v1/trips", status_code=201, response_model=TripReply)
    @public
    async def begin(request: Request) -> Response:
        start = read_message(await request.body(), TripStart)
        return Response(trips.start(start).canonical(), 201, media_type=JSON)

    @app.post("/v1/trips/{trip_id}", response_model=TripReply)
    @public
    async def answer(trip_id: str, request: Request) -> Response:
        body, arrived_us = await request.body(), clock_us()
        return Response(trips.answer(trip_id, read_message(body, TripAnswer), arrived_us).canonical(), media_type=JSON)


def read_message(body: bytes, model: type[Message]) -> Message:
    """Reads a message strictly as JSON. Raises ProblemError `malformed_request`."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise ProblemError("malformed_request", f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def clock_us() -> int:
    """A clock that only goes forward, in microseconds."""
    return time.monotonic_ns() // 1000


def load_or_make_key(settings: Settings) -> Ed25519PrivateKey:
    """Reads the beacon's key, a 32-byte seed in hex; the first start makes it, for its owner's eyes alone."""
    path = settings.beacon_key
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        try:
            return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(path.read_text().strip()))
        except ValueError:
            raise SystemExit(f"{path} is not the private half of a key, 64 hex digits") from None
    except OSError as error:
        raise SystemExit(f"{path} cannot be made: {error.strerror}") from None
    key = Ed25519PrivateKey.generate()
    with os.fdopen(descriptor, "w") as file:
        file.write(key.private_bytes_raw().hex() + "\n")
    return key
