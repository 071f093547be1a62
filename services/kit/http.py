"""HTTP as every service serves it: problem documents, request ids, a body limit, health, readiness, metrics."""

import asyncio
from collections.abc import Callable
from random import getrandbits

import asyncpg
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from schemas import signing
from schemas.complaints import in_words
from schemas.problems import EDGE_CODES, PROBLEM_MEDIA_TYPE, OrderState, Problem
from services.kit.bodies import BodyLimits, HeldBodies, HeldBody, TooManyBytes
from services.kit.docs_page import docs_page
from services.kit.inputs import complaint_about, read_number
from services.kit.logs import error_fields
from services.kit.openapi import serve_document
from services.kit.readiness import Readiness
from services.kit.request_parts import headers_of, is_whole

# What a probe or a reader of the documents may ask for at any time, without a key.
OPEN_PATHS = frozenset({"/healthz", "/readyz", "/metrics", "/docs", "/openapi.json"})
DEFAULT_LIMITS = BodyLimits()
KEY_HEADER = signing.KEY_HEADER.lower().encode()
STATUS_CODES = {404: "not_found", 405: "method_not_allowed"}


class ProblemError(Exception):
    """A request that cannot be served, with the stable code that the caller can act on."""

    def __init__(
        self,
        code: str,
        detail: str,
        status: int | None = None,
        retryable: bool = False,
        order_state: OrderState = "none",
        headers: dict[str, str] | None = None,
        extra: dict | None = None,
    ):
        super().__init__(f"{code}: {detail}")
        self.code, self.detail, self.retryable, self.order_state = code, detail, retryable, order_state
        self.status = status if status is not None else EDGE_CODES[code]
        self.headers, self.extra = headers or {}, extra or {}


def new_request_id() -> str:
    """Returns the id of a request: it names, and proves nothing, so that it need not be secret."""
    return f"{getrandbits(128):032x}"


def problem_response(error: ProblemError, request_id: str) -> Response:
    """Returns the problem document of an error; `extra` members stand beside the standard ones (RFC 9457, section
    3.2).
    """
    problem = Problem(
        type=f"urn:hourbook:problem:{error.code}",
        title=error.code.replace("_", " "),
        status=error.status,
        code=error.code,
        detail=error.detail,
        retryable=error.retryable,
        order_state=error.order_state,
        request_id=request_id,
    )
    headers = {**error.headers, "X-Request-Id": request_id}
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Hourbook realm="hourbook"'
    return JSONResponse(problem.model_dump() | error.extra, error.status, headers, PROBLEM_MEDIA_TYPE)


def make_app(
    service: str,
    readiness: Readiness,
    bodies: BodyLimits = DEFAULT_LIMITS,
    larger: tuple[Callable[[str], bool], BodyLimits] | None = None,
) -> FastAPI:
    """Returns an application with everything that the services' HTTP sides have in common.

    `larger` names, by a test of the path, the requests whose bodies have limits of their own.
    """
    # Without redirects for a trailing slash: they would echo the caller's Host header, and no signature fits them.
    app = FastAPI(title=f"Hourbook {service}", version="1", docs_url=None, redoc_url=None, redirect_slashes=False)
    app.add_middleware(RequestGuard, bodies=bodies, readiness=readiness, larger=larger)
    app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["GET"])

    @app.exception_handler(ProblemError)
    async def on_problem(request: Request, error: ProblemError) -> Response:
        return problem_response(error, request.state.request_id)

    @app.exception_handler(RequestValidationError)
    async def on_invalid(request: Request, error: RequestValidationError) -> Response:
        problem = ProblemError("malformed_request", in_words(error.errors(), skip=1))
        return problem_response(problem, request.state.request_id)

    @app.exception_handler(HTTPException)
    async def on_http(request: Request, error: HTTPException) -> Response:
        code = STATUS_CODES.get(error.status_code, "malformed_request")
        problem = ProblemError(code, str(error.detail), error.status_code, headers=dict(error.headers or {}))
        return problem_response(problem, request.state.request_id)

    @app.exception_handler(asyncpg.DataError)
    async def on_unstorable(request: Request, error: asyncpg.DataError) -> Response:
        # The routes' own bounds come first; what they let through and no column can keep is still the caller's value.
        structlog.get_logger().warning("a value that no column can keep", path=request.scope["path"], error=str(error))
        problem = ProblemError("malformed_request", "a value is outside what can be kept")
        return problem_response(problem, request.state.request_id)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return docs_page(app.openapi())

    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> dict[str, str]:
        return {"service": service, "status": "alive"}

    @app.get("/readyz", include_in_schema=False)
    async def readyz() -> JSONResponse:
        waiting = await readiness.all_waiting()
        return JSONResponse({"service": service, "ready": not waiting, "waiting_for": waiting}, 503 if waiting else 200)

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    serve_document(app)
    return app


class RequestGuard:
    """Gives every request an id; answers 503 until the service is ready or while too many bytes of bodies are held, 413
    to a body that is too large, 408 to one that is too slow, and 400 to a request that holds what no route may see
    (services.kit.inputs). Whatever fails behind it is a problem document, and no answer
    to a signed request is for caches.
    """

    def __init__(
        self,
        app: ASGIApp,
        bodies: BodyLimits,
        readiness: Readiness,
        larger: tuple[Callable[[str], bool], BodyLimits] | None = None,
    ):
        self._app, self._bodies, self._readiness = app, HeldBodies(bodies), readiness
        self._is_larger = larger[0] if larger else None
        self._larger = HeldBodies(larger[1]) if larger else self._bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one connection."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        request_id = new_request_id()
        scope.setdefault("state", {})["request_id"] = request_id
        bodies = self._larger if self._is_larger and self._is_larger(scope["path"]) else self._bodies
        held = HeldBody(bodies)
        try:
            try:
                body = await self._checked_body(scope, receive, bodies, held)
            except ProblemError as refusal:
                return await problem_response(refusal, request_id)(scope, receive, send)
            if body is not None:
                await self._answered(scope, _replayed(body, receive), send)
        finally:
            held.release()

    async def _answered(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_private, started = KEY_HEADER in headers_of(scope), False

        async def noted(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = message.get("headers", ())
                if is_private and not any(name == b"cache-control" for name, _ in headers):
                    message["headers"] = [*headers, (b"cache-control", b"no-store")]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except asyncio.CancelledError:
            problem = ProblemError("unavailable", "the service stops; ask again", retryable=True, order_state="unknown")
        except Exception as error:
            _log_failure(scope, error)
            detail = "a fault of the service, which has noted it"
            problem = ProblemError("internal_error", detail, retryable=True, order_state="unknown")
        else:
            return
        if not started:
            await problem_response(problem, scope["state"]["request_id"])(scope, receive, noted)

    async def _checked_body(self, scope: Scope, receive: Receive, bodies: HeldBodies, held: HeldBody) -> bytes | None:
        """Reads the whole body; None where the client has gone. Raises ProblemError."""
        if self._readiness.waiting and scope["path"] not in OPEN_PATHS:
            raise _not_ready(self._readiness)
        headers, bytes_max = headers_of(scope), bodies.limits.bytes_max
        length = read_number(headers.get(b"content-length", b"0").decode("latin-1"), bytes_max)
        if length is None:
            raise _too_large(bytes_max)
        try:
            bodies.check_room(length)
            if is_whole(scope):
                body = await _read_body(receive, bytes_max, held)
            else:
                async with asyncio.timeout(bodies.limits.within_s):
                    body = await _read_body(receive, bytes_max, held)
        except TooManyBytes:
            detail = "the service holds as many bytes of requests as it may; come again"
            raise ProblemError("unavailable", detail, retryable=True, headers={"Retry-After": "1"}) from None
        except TimeoutError:
            detail = f"the body has not come whole within {bodies.limits.within_s:g} s"
            raise ProblemError("request_timeout", detail, retryable=True, headers={"Connection": "close"}) from None
        if body is None:
            return None
        if complaint := complaint_about(scope["path"], scope["query_string"], headers.get(b"host", b""), body):
            raise ProblemError("malformed_request", complaint)
        return body


async def _read_body(receive: Receive, bytes_max: int, held: HeldBody) -> bytes | None:
    """Reads a body piece by piece; None where the client has gone. Raises ProblemError or TooManyBytes."""
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        part = message.get("body", b"")
        held.add(len(part))
        if held.size_bytes > bytes_max:
            raise _too_large(bytes_max)
        if not message.get("more_body", False):
            return b"".join((*parts, part)) if parts else part
        parts.append(part)


def _log_failure(scope: Scope, error: Exception) -> None:
    """Says in one line of bounded length what failed, and where."""
    structlog.get_logger().error(
        "request failed",
        request_id=scope["state"]["request_id"],
        method=scope["method"],
        path=scope["path"][:200],
        **error_fields(error),
    )


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Returns a `receive` that hands the body out in one piece, then whatever comes after it."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return waiting.pop() if waiting else await receive()

    return replayed


def _too_large(bytes_max: int) -> ProblemError:
    return ProblemError("body_too_large", f"at most {bytes_max} bytes")


def _not_ready(readiness: Readiness) -> ProblemError:
    detail = f"starting; waits for {', '.join(readiness.waiting)}"
    return ProblemError("unavailable", detail, retryable=True, headers={"Retry-After": "1"})
