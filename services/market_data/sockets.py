"""The feed over WebSocket and over server-sent events: requests in, messages out, a heartbeat every second."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Annotated

import orjson
from fastapi import FastAPI, Query, Request, WebSocket
from fastapi.responses import StreamingResponse
from pydantic import ValidationError
from starlette.websockets import WebSocketDisconnect

from schemas.complaints import in_words
from schemas.market_data import Acknowledged, FeedProblem, FeedRequest, Heartbeat
from services.kit.addresses import client_address
from services.kit.auth import public
from services.kit.http import ProblemError
from services.kit.inputs import read_number
from services.kit.limits import Budget
from services.kit.readiness import Readiness
from services.kit.sockets import next_message
from services.market_data import metrics
from services.market_data.domain import Market
from services.market_data.readers import Reader, SlowReader, TooManyStreams
from services.market_data.snapshots import UnknownInterval, UnknownSymbol

HEARTBEAT_S = 1.0
REQUEST_ID_MAX = 64
CLOSE_SLOW_READER = 4008
CLOSE_TRY_AGAIN_LATER = 1013
OWN_SEQUENCES = frozenset({"listings", "delivery"})
PROBLEM_CODES: dict[type[Exception], str] = {
    UnknownSymbol: "unknown_symbol",
    UnknownInterval: "unknown_interval",
    TooManyStreams: "too_many_streams",
}

StreamNames = Annotated[list[str], Query(alias="stream", min_length=1, max_length=50)]


def add_feed(
    app: FastAPI, readiness: Readiness, new_reader: Callable[[], Reader], readers: set[Reader], pace: Budget
) -> None:
    """Add `/v1/feed` and `/v1/sse`; `readers` holds everyone who is connected, `pace` what an address may ask for."""

    @app.websocket("/v1/feed")
    async def feed(socket: WebSocket) -> None:
        await socket.accept()
        if readiness.waiting:
            return await socket.close(CLOSE_TRY_AGAIN_LATER, f"waiting for {', '.join(readiness.waiting)}")
        reader = new_reader()
        readers.add(reader)
        sending = asyncio.create_task(_send(socket, reader))
        try:
            await _receive(socket, reader, pace)
        finally:
            readers.discard(reader)
            reader.close()
            sending.cancel()
            with suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError):
                await sending

    @app.get("/v1/sse", response_class=StreamingResponse)
    @public
    async def events(request: Request, stream: StreamNames) -> StreamingResponse:
        """The feed as server-sent events: `?stream=book:CONTRACT&stream=candles:CONTRACT:1m`."""
        reader = new_reader()
        for wanted in _requests(stream, request.headers.get("last-event-id")):
            _apply(reader, wanted)
        readers.add(reader)
        return StreamingResponse(
            _events(reader, readers), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )


async def beat(market: Market, readers: set[Reader]) -> None:
    """Send everyone a heartbeat every second, for ever."""
    while True:
        await asyncio.sleep(HEARTBEAT_S)
        ts_ns = str(time.time_ns())
        metrics.READERS.set(len(readers))
        for reader in tuple(readers):
            seqs = {sym: market.contracts[sym].book.seq for sym in reader.books() if sym in market.contracts}
            reader.put(None, 0, Heartbeat(seq=seqs, last_seq=market.seq, ts_ns=ts_ns).wire())


async def _receive(socket: WebSocket, reader: Reader, pace: Budget) -> None:
    address = client_address(socket.scope) or ""
    with suppress(WebSocketDisconnect):
        while not reader.is_too_slow:
            pace.owe(address, _answer(await next_message(socket), reader))
            # What an address asks for beyond its pace waits at its sender's.
            await asyncio.sleep(pace.wait_s(address))


def _answer(text: bytes, reader: Reader) -> int:
    """Carry a message out; return how many streams it named."""
    try:
        request = FeedRequest.model_validate_json(text)
    except ValidationError as error:
        detail = in_words(error.errors()[:5])
        reader.put(None, 0, FeedProblem(id=_id_in(text), code="malformed_request", detail=detail).wire())
        return 1
    try:
        reader.apply(request)
    except tuple(PROBLEM_CODES) as error:
        problem = FeedProblem(id=request.id, code=PROBLEM_CODES[type(error)], detail=str(error))
        reader.put(None, 0, problem.wire())
    else:
        if request.id is not None:
            reader.put(None, 0, Acknowledged(id=request.id, op=request.op).wire())
    return len(request.syms)


def _id_in(text: bytes) -> str | None:
    """Return the id of a request that is wrong otherwise, so that its sender knows which one it was."""
    try:
        found = orjson.loads(text)
    except ValueError:
        return None
    named = found.get("id") if isinstance(found, dict) else None
    return named if isinstance(named, str) and len(named) <= REQUEST_ID_MAX else None


async def _send(socket: WebSocket, reader: Reader) -> None:
    try:
        while True:
            _, data = await reader.take()
            await socket.send_text(data.decode())
    except SlowReader as slow:
        metrics.SLOW_READERS.inc()
        await socket.close(CLOSE_SLOW_READER, f"slow_reader seq={slow.args[0]}")


def _requests(names: list[str], last_event_id: str | None) -> list[FeedRequest]:
    parts = [name.split(":") for name in names]
    if len({part[0] if part[0] in OWN_SEQUENCES else "" for part in parts}) > 1:
        raise ProblemError(
            "malformed_request", "listings and delivery have sequences of their own: one connection each"
        )
    from_seq = None if last_event_id is None else read_number(last_event_id)
    if last_event_id is not None and from_seq is None:
        raise ProblemError("malformed_request", "Last-Event-ID is a sequence number")
    try:
        return [_request(part, from_seq) for part in parts]
    except (ValidationError, ValueError) as error:
        words = in_words(error.errors()[:5]) if isinstance(error, ValidationError) else "at most three parts"
        raise ProblemError("malformed_request", f"stream is channel:symbol[:interval]; {words}") from error


def _request(part: list[str], from_seq: int | None) -> FeedRequest:
    ch, sym, interval = (*part, *("*", "1m")[len(part) - 1 :])
    return FeedRequest(op="subscribe", ch=ch, syms=(sym,), interval=interval, from_seq=from_seq)


def _apply(reader: Reader, request: FeedRequest) -> None:
    try:
        reader.apply(request)
    except tuple(PROBLEM_CODES) as error:
        reader.close()
        raise ProblemError("not_found", f"{PROBLEM_CODES[type(error)]}: {error}") from error


async def _events(reader: Reader, readers: set[Reader]) -> AsyncIterator[bytes]:
    try:
        while True:
            seq, data = await reader.take()
            yield (b"id: %d\n" % seq if seq else b"") + b"data: " + data + b"\n\n"
    except SlowReader as slow:
        metrics.SLOW_READERS.inc()
        problem = FeedProblem(code="slow_reader", detail="read more slowly than it was sent", seq=slow.args[0])
        yield b"event: error\ndata: " + problem.wire() + b"\n\n"
    finally:
        readers.discard(reader)
        reader.close()
