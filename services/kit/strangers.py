"""What one address may ask of a service before anybody knows who it is: unsigned requests, and signatures that fail."""

from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from schemas.signing import KEY_HEADER
from services.kit.addresses import client_group
from services.kit.connections import Places
from services.kit.http import OPEN_PATHS, ProblemError, new_request_id, problem_response
from services.kit.limits import Budget, too_many_at_once
from services.kit.request_parts import headers_of
from services.kit.settings import Settings

KEY_HEADER_BYTES = KEY_HEADER.lower().encode()
BURST_S = 10.0
CLOSE_TRY_AGAIN_LATER = 1013
OF_NOBODY = (400, 403, 404, 413)


class AddressGuard:
    """Stands before a service's whole application. `free` names, by a test of the path, requests that cost nothing
    here because their senders have limits of their own, however many of them share an address; those that turn out to
    be nobody's cost the address.
    """

    def __init__(self, app: ASGIApp, settings: Settings, free: Callable[[str], bool] = lambda path: False):
        self._app, self._free = app, free
        self._unsigned = Budget("unsigned", settings.unsigned_requests_per_s, BURST_S)
        self._unproven = Budget("unproven", settings.unsigned_requests_per_s, BURST_S)
        self._refused = Budget("refused", settings.refused_signatures_per_s, BURST_S)
        self._open = Places(settings.open_requests_per_address_max)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one connection, or says that its address has asked too much."""
        if scope["type"] not in ("http", "websocket") or scope["path"] in OPEN_PATHS:
            return await self._app(scope, receive, send)
        address = client_group(scope)
        is_signed = KEY_HEADER_BYTES in headers_of(scope)
        is_free = not is_signed and self._free(scope["path"])
        try:
            self._refused.check(address, TOO_MANY)
            if is_free:
                self._unproven.check(address, TOO_MANY)
            elif not is_signed:
                self._unsigned.require(address, TOO_MANY)
        except ProblemError as refusal:
            return await _refuse(refusal, scope, receive, send)

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                if message["status"] == 401:
                    self._refused.owe(address, 1)
                elif is_free and message["status"] in OF_NOBODY:
                    self._unproven.owe(address, 1)
            await send(message)

        if is_signed:  # its key pays, and it is answered soon
            return await self._app(scope, receive, noted)
        if not self._open.take(address):
            return await _refuse(too_many_at_once(TOO_MANY_OPEN), scope, receive, send)
        try:
            await self._app(scope, receive, noted)
        finally:
            self._open.give_back(address)


TOO_MANY = "the address has asked too much for now"
TOO_MANY_OPEN = "the address has as many requests and sockets open as it may"


async def _refuse(refusal: ProblemError, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        return await send({"type": "websocket.close", "code": CLOSE_TRY_AGAIN_LATER, "reason": "too_many_requests"})
    await problem_response(refusal, new_request_id())(scope, receive, send)
