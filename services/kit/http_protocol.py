"""HTTP on the wire: uvicorn's protocol, with bounds on what a stranger sends before anybody looks at it."""

import asyncio
from typing import Any

import httptools
import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from schemas.problems import PROBLEM_MEDIA_TYPE
from services.kit.connections import Connection, Connections
from services.kit.request_parts import WHOLE
from services.kit.settings import Settings

REASONS = {
    400: (b"Bad Request", "malformed_request", "this is no HTTP request"),
    408: (b"Request Timeout", "request_timeout", "the head of the request took too long to arrive"),
    414: (b"URI Too Long", "url_too_long", "the URL is too long"),
    429: (b"Too Many Requests", "too_many_requests", "the address has as many connections as it may"),
    431: (b"Request Header Fields Too Large", "head_too_large", "the request's head is too large"),
}


AGAIN_LATER = (408, 429)
LEAVE_S, LEAVE_BYTES = 1.0, 1_048_576  # a connection that is closed over unread bytes loses the answer with them


class OneWrite:
    """A connection's transport that hands on in one piece what is written in one turn of the loop: an answer's head and
    body are one packet, and one call of the system.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._waiting: list[bytes] = []
        self.is_closing, self.resume_reading = transport.is_closing, transport.resume_reading

    def write(self, data: bytes) -> None:
        """Writes when this turn of the loop is over."""
        if not self._waiting:
            self._loop.call_soon(self._hand_on)
        self._waiting.append(data)

    def write_eof(self) -> None:
        """Says that nothing more comes."""
        self._hand_on()
        self._transport.write_eof()

    def close(self) -> None:
        """Closes after what was written."""
        self._hand_on()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        """Everything else is the transport's."""
        return getattr(self._transport, name)

    def _hand_on(self) -> None:
        if self._waiting:
            data, self._waiting = b"".join(self._waiting), []
            if not self._transport.is_closing():
                self._transport.write(data)


class CountedSocket(WebSocketsSansIOProtocol):
    """A WebSocket that frees its connection's place at its end."""

    place: Connection | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        if self.place is not None:
            self.place.end()
        super().connection_lost(exc)


class BoundedProtocol(HttpToolsProtocol):
    """One connection. Its address has so many; bytes that lead to no body count against the head's bound; a head must
    arrive in time.
    """

    head_bytes_max = url_bytes_max = 0
    head_within_s = 0.0
    open_connections: Connections

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Expects a head from now on, where the address may have one more connection."""
        super().connection_made(OneWrite(transport, self.loop))
        self._unread_bytes, self._head_bytes_most, self._refusal, self._deadline = 0, 0, 400, None
        self._is_leaving = self._in_head = False
        self._place = self.open_connections.take(self.client[0]) if self.client else None
        if self.client and self._place is None:
            self._refuse(429)
        else:
            self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets the deadline, and frees the place."""
        self._arrived()
        if self._place is not None:
            self._place.end()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Takes what came in; refuses a head that has become too large."""
        self._unread_bytes += len(data)
        self._head_bytes_most = self._unread_bytes  # a head that ends in this data has no more
        if self._is_leaving:
            if self._unread_bytes > LEAVE_BYTES:
                self.transport.close()
            return
        super().data_received(data)
        if self._is_leaving:
            return
        if self._in_head and self._deadline is None:
            self._expect()
        if self._unread_bytes > self.head_bytes_max and not self.transport.is_closing():
            self._refuse(414 if len(self.url or b"") > self.url_bytes_max else 431)

    def on_message_begin(self) -> None:
        """A request begins."""
        self.url = b""
        super().on_message_begin()
        self._in_head = True

    def on_headers_complete(self) -> None:
        """The head is whole. Raises HttpParserError for one that is too large."""
        self._unread_bytes, self._in_head = 0, False
        self._arrived()
        if len(self.url) > self.url_bytes_max:
            self._fail(414)
        if self._head_bytes_most > self.head_bytes_max and self._head_bytes() > self.head_bytes_max:
            self._fail(431)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of the body came in."""
        self._unread_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._unread_bytes = 0
        self.scope["state"][WHOLE] = True
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """Hands the connection over to the WebSocket protocol, which has bounds of its own, and its place with it."""
        self._arrived()
        super().handle_websocket_upgrade()
        socket = self.transport.get_protocol()
        if isinstance(socket, CountedSocket):
            socket.place, self._place = self._place, None

    def send_400_response(self, msg: str) -> None:
        """Answers what cannot be served with a problem document, and closes."""
        self._refuse(self._refusal)

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _expect(self) -> None:
        self._deadline = self.loop.call_later(self.head_within_s, self._too_late)

    def _arrived(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
        self._deadline = None
        self._refuse(408)

    def _fail(self, status: int) -> None:
        self._refusal = status
        raise httptools.HttpParserError(REASONS[status][2])

    def _refuse(self, status: int) -> None:
        """Says what is wrong, unless an answer is on its way already, and closes the connection."""
        words, code, detail = REASONS[status]
        problem = {
            "type": f"urn:hourbook:problem:{code}",
            "title": code.replace("_", " "),
            "status": status,
            "code": code,
            "detail": detail,
            "retryable": status in AGAIN_LATER,
            "order_state": "none",
            "request_id": "",
        }
        body = orjson.dumps(problem)
        head = b"HTTP/1.1 %d %s\r\ncontent-type: %s\r\ncontent-length: %d\r\nconnection: close\r\n"
        head += b"retry-after: 1\r\n\r\n" if status in AGAIN_LATER else b"\r\n"
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self.transport.write(head % (status, words, PROBLEM_MEDIA_TYPE.encode(), len(body)) + body)
        self._leave()

    def _leave(self) -> None:
        """Says that nothing more comes, and passes over what is on its way here before the connection is closed."""
        self._arrived()
        self._is_leaving, self._unread_bytes = True, 0
        if self.transport.can_write_eof() and not self.transport.is_closing():
            self.transport.write_eof()
        self._deadline = self.loop.call_later(LEAVE_S, self.transport.close)

    def eof_received(self) -> None:
        """The other side sends nothing more: the connection is closed."""
        self._arrived()


def bounded_protocol(settings: Settings) -> type[BoundedProtocol]:
    """Returns the protocol with the bounds of the settings."""
    bounds = {
        "head_bytes_max": settings.head_bytes_max,
        "url_bytes_max": settings.url_bytes_max,
        "head_within_s": settings.head_within_s,
        "open_connections": Connections(settings.connections_per_address_max, settings.trusted_networks),
    }
    return type("BoundedProtocol", (BoundedProtocol,), bounds)
