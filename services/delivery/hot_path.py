"""The short way for reports: from the socket's bytes to the intake and back, past FastAPI, which serves all the rest.

FastAPI's layers and its routing cost about as much per report as checking the report's signature.
"""

from starlette.types import ASGIApp, Receive, Scope, Send

from services.delivery.edge_api import JSON, ReportEndpoint, problem_of
from services.kit.bodies import BodyLimits
from services.kit.http import RequestGuard, problem_response
from services.kit.readiness import Readiness

BEFORE, AFTER = "/v1/nodes/", "/reports"


class HotPath:
    """Tells reports from other requests by method and path; the endpoint is the one that FastAPI documents."""

    def __init__(self, app: ASGIApp, bodies: BodyLimits, readiness: Readiness):
        self._app, self._reports = app, None
        self._guarded = RequestGuard(self._serve, bodies, readiness)

    def open(self, reports: ReportEndpoint) -> None:
        """Sends reports the short way from now on; until then the application says what the service waits for."""
        self._reports = reports

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one connection."""
        if self._reports and scope["type"] == "http" and scope["method"] == "POST" and is_for_reports(scope["path"]):
            await self._guarded(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        node_id, body = scope["path"][len(BEFORE) : -len(AFTER)], (await receive())["body"]
        try:
            answer = await self._reports.take(node_id, body)
        except Exception as error:
            problem = problem_of(error)
            if problem is None:
                raise
            return await problem_response(problem, scope["state"]["request_id"])(scope, receive, send)
        length = str(len(answer)).encode()
        headers = [(b"content-type", JSON.encode()), (b"content-length", length)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


def is_for_reports(path: str) -> bool:
    """Says whether a path is `/v1/nodes/{node_id}/reports`."""
    return path.startswith(BEFORE) and path.endswith(AFTER) and path.count("/") == 4
