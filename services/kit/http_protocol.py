"""HTTP on the wire: uvicorn's protocol, with bounds on what a stranger sends before anybody looks at it."""

import asyncio

import httptools
import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from schemas.problems import PROBLEM_MEDIA_TYPE
from services.kit.settings import Settings

REASONS = {
    400: (b"Bad Request", "malformed_request", "this is no HTTP request"),
    408: (b"Request Timeout", "request_timeout", "the head of the request took too long to arrive"),
    414: (b"URI Too Long", "url_too_long", "the URL is too long"),
    431: (b"Request Header Fields Too Large", "head_too_large", "the request's head is too large"),
}


class BoundedProtocol(HttpToolsProtocol):
    """One connection. Bytes that lead to no body count against the head's bound; a head must arrive in time."""

    head_bytes_max = url_bytes_max = 0
    head_within_s = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Expects a head from now on."""
        super().connection_made(transport)
        self._unread_bytes, self._refusal, self._deadline = 0, 400, None
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets the deadline."""
        self._arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Takes what came in; refuses a head that has become too large."""
        self._unread_bytes += len(data)
        super().data_received(data)
        if self._unread_bytes > self.head_bytes_max and not self.transport.is_closing():
            self._refuse(414 if len(self.url or b"") > self.url_bytes_max else 431)

    def on_message_begin(self) -> None:
        """A request begins."""
        self.url = b""
        super().on_message_begin()
        if self._deadline is None:
            self._expect()

    def on_headers_complete(self) -> None:
        """The head is whole. Raises HttpParserError for one that is too large."""
        self._unread_bytes = 0
        self._arrived()
        if len(self.url) > self.url_bytes_max:
            self._fail(414)
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > self.head_bytes_max:
            self._fail(431)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of the body came in."""
        self._unread_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._unread_bytes = 0
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """Hands the connection over to the WebSocket protocol, which has bounds of its own."""
        self._arrived()
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        """Answers what cannot be served with a problem document, and closes."""
        self._refuse(self._refusal)

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
            "retryable": status == 408,
            "order_state": "none",
            "request_id": "",
        }
        body = orjson.dumps(problem)
        head = b"HTTP/1.1 %d %s\r\ncontent-type: %s\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self.transport.write(head % (status, words, PROBLEM_MEDIA_TYPE.encode(), len(body)) + body)
        self.transport.close()


def bounded_protocol(settings: Settings) -> type[BoundedProtocol]:
    """Returns the protocol with the bounds of the settings."""
    bounds = {
        "head_bytes_max": settings.head_bytes_max,
        "url_bytes_max": settings.url_bytes_max,
        "head_within_s": settings.head_within_s,
    }
    return type("BoundedProtocol", (BoundedProtocol,), bounds)
