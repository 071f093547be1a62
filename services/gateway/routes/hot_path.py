"""Order entry's way into the gateway: straight to its function, while everything else goes to FastAPI.

FastAPI's layers and routing cost about as much per request as checking the signature does.
"""

from collections.abc import Awaitable, Callable
from functools import partial

from fastapi import Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from services.gateway.context import GatewayContext
from services.gateway.routes.answers import OutcomeUnknown
from services.gateway.routes.table import HOT_ROUTES
from services.kit.http import ProblemError, RequestGuard, problem_response

Endpoint = Callable[[Request], Awaitable[Response]]
PARAMETER = "{order_id}"


class WholeRequest(Request):
    """A request whose body the guard has read: it comes in one piece."""

    async def body(self) -> bytes:
        """Return the body."""
        if not hasattr(self, "_whole"):
            self._whole: bytes = (await self.receive())["body"]
        return self._whole


class HotPath:
    """Tells order entry's requests from the others by method and path."""

    def __init__(self, app: ASGIApp, gateway: GatewayContext):
        self._app = app
        self._guarded = RequestGuard(self._serve, gateway.settings.body_limits, gateway.readiness)
        endpoints = {(each.method, each.path): partial(each.endpoint, gateway) for each in HOT_ROUTES}
        self._exact = {key: endpoint for key, endpoint in endpoints.items() if PARAMETER not in key[1]}
        self._by_prefix = {
            (method, path.removesuffix(PARAMETER)): endpoint
            for (method, path), endpoint in endpoints.items()
            if path.endswith(PARAMETER)
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        endpoint = self._find(scope) if scope["type"] == "http" else None
        if endpoint is None:
            return await self._app(scope, receive, send)
        scope["endpoint"] = endpoint
        await self._guarded(scope, receive, send)

    def _find(self, scope: Scope) -> Endpoint | None:
        method, path = scope["method"], scope["path"]
        if endpoint := self._exact.get((method, path)):
            return endpoint
        prefix, _, last = path.rpartition("/")
        endpoint = self._by_prefix.get((method, f"{prefix}/"))
        if endpoint and last:
            scope["path_params"] = {"order_id": last}
            return endpoint
        return None

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = WholeRequest(scope, receive, send)
        try:
            response = await scope["endpoint"](request)
        except ProblemError as error:
            response = problem_response(error, request.state.request_id)
        except OutcomeUnknown as error:
            response = error.response
        await response(scope, receive, send)
