"""HTTP for agents: every body is a signed message of schemas.nodes, so these routes need no API key."""

from functools import partial
from typing import TypeVar

from fastapi import FastAPI, Request, Response
from pydantic import ValidationError

from schemas.base import Model
from schemas.nodes import (
    ChainReply,
    ChainRequest,
    ChallengeCommit,
    ChallengeOffer,
    ChallengeOpening,
    ChallengeVerdict,
    ChallengeWait,
    CommitReply,
    EnrolReply,
    EnrolRequest,
    GpuChange,
    GpuChangeReply,
    InspectionReply,
    InspectionReport,
    LeaseReply,
    LeaseResult,
    OpeningRequest,
    Report,
    ReportReply,
    ResidencyAnswer,
)
from services.delivery.domain import DeliveryError
from services.delivery.edge import Edge
from services.delivery.intake import Intake
from services.delivery.metrics import REFUSALS
from services.delivery.moving import Moving
from services.delivery.proofs import Proofs
from services.delivery.resuming import ChainPlaces
from services.delivery.waiting import HeldRequests
from services.kit.auth import public
from services.kit.http import ProblemError, problem_response
from services.kit.openapi import REPEATED
from services.kit.store import AWAY

Message = TypeVar("Message", bound=Model)
JSON = "application/json"


def body_of(model: type[Model]) -> dict:
    """Describes a request body for the OpenAPI document, since the routes read the bytes themselves."""
    return {"requestBody": {"required": True, "content": {JSON: {"schema": model.model_json_schema()}}}}


async def read_body(request: Request, model: type[Message]) -> Message:
    """Reads a message strictly as JSON. Raises ProblemError `malformed_request`."""
    return read_message(await request.body(), model)


def read_message(body: bytes, model: type[Message]) -> Message:
    """Reads a message strictly as JSON. Raises ProblemError `malformed_request`."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        detail = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise ProblemError("malformed_request", detail) from error


def problem_of(error: Exception) -> ProblemError | None:
    """Returns what to tell an agent of an error, None where nobody foresaw it; refusals are counted.

    A database or broker that is away is 503, to be tried again.
    """
    if isinstance(error, ProblemError):
        return error
    if isinstance(error, DeliveryError):
        REFUSALS.labels(error.code).inc()
        return ProblemError(error.code, error.detail, error.status, retryable=error.retryable, extra=error.members)
    if isinstance(error, AWAY):
        return ProblemError("unavailable", "the database or the broker is away", retryable=True)
    return None


def add_error_handlers(app: FastAPI) -> None:
    """Turns delivery's errors into problem documents."""

    async def on_error(request: Request, error: Exception) -> Response:
        return problem_response(problem_of(error), request.state.request_id)

    for kind in (DeliveryError, *AWAY):
        app.add_exception_handler(kind, on_error)


class ReportEndpoint:
    """Takes a report as bytes and returns the reply's, for both ways that lead here."""

    def __init__(self, intake: Intake):
        self._intake = intake

    async def take(self, node_id: str, body: bytes) -> bytes:
        """Takes a report. Raises ProblemError, DeliveryError or one of AWAY."""
        return (await self._intake.take(node_id, read_message(body, Report))).canonical()


def add_edge_routes(app: FastAPI, edge: Edge, reports: ReportEndpoint, places: ChainPlaces, moving: Moving) -> None:
    """Adds what agents call, save for proofs."""

    @app.post(
        "/v1/nodes",
        status_code=201,
        response_model=EnrolReply,
        responses=REPEATED,
        openapi_extra=body_of(EnrolRequest),
    )
    @public
    async def enrol(request: Request) -> Response:
        reply, is_new = await edge.enrol(await read_body(request, EnrolRequest))
        return Response(reply.canonical(), 201 if is_new else 200, {"Location": f"/v1/nodes/{reply.node_id}"}, JSON)

    @app.post("/v1/nodes/{node_id}/reports", response_model=ReportReply, openapi_extra=body_of(Report))
    @public
    async def report(node_id: str, request: Request) -> Response:
        return Response(await reports.take(node_id, await request.body()), media_type=JSON)

    @app.post("/v1/nodes/{node_id}/gpus", response_model=GpuChangeReply, openapi_extra=body_of(GpuChange))
    @public
    async def change_gpus(node_id: str, request: Request) -> Response:
        return _json(await moving.change_gpus(node_id, await read_body(request, GpuChange)))

    @app.post("/v1/nodes/{node_id}/chain", response_model=ChainReply, openapi_extra=body_of(ChainRequest))
    @public
    async def place_chain(node_id: str, request: Request) -> Response:
        return _json(await places.place(node_id, await read_body(request, ChainRequest)))

    @app.post("/v1/nodes/{node_id}/leases/{lease_id}", response_model=LeaseReply, openapi_extra=body_of(LeaseResult))
    @public
    async def answer_lease(node_id: str, lease_id: str, request: Request) -> Response:
        return _json(await edge.answer_lease(node_id, lease_id, await read_body(request, LeaseResult)))

    @app.post(
        "/v1/inspections",
        status_code=201,
        response_model=InspectionReply,
        openapi_extra=body_of(InspectionReport),
    )
    @public
    async def inspect(request: Request) -> Response:
        reply = await edge.inspect(await read_body(request, InspectionReport))
        return Response(reply.canonical(), 201, {"Location": f"/v1/inspections/{reply.inspection_id}"}, JSON)


def is_opening(path: str) -> bool:
    """Says whether a path is that of an opening, whose body may be larger than others."""
    return path.startswith("/v1/nodes/") and path.endswith("/open") and "/challenges/" in path


def add_proof_routes(app: FastAPI, proofs: Proofs, held: HeldRequests) -> None:
    """Adds what agents call about challenges."""

    @app.post(
        "/v1/nodes/{node_id}/challenges/next", response_model=ChallengeOffer, openapi_extra=body_of(ChallengeWait)
    )
    @public
    async def next_challenges(node_id: str, request: Request) -> Response:
        message = await read_body(request, ChallengeWait)
        return _json(await held.wait(node_id, message, partial(_hung_up, request)))

    @app.post(
        "/v1/nodes/{node_id}/challenges/{challenge_id}/commit",
        response_model=CommitReply,
        openapi_extra=body_of(ChallengeCommit),
    )
    @public
    async def commit(node_id: str, challenge_id: str, request: Request) -> Response:
        return _json(await proofs.commit(node_id, challenge_id, await read_body(request, ChallengeCommit)))

    @app.post(
        "/v1/nodes/{node_id}/challenges/{challenge_id}/residency",
        response_model=OpeningRequest,
        openapi_extra=body_of(ResidencyAnswer),
    )
    @public
    async def prove_residency(node_id: str, challenge_id: str, request: Request) -> Response:
        return _json(await proofs.prove_residency(node_id, challenge_id, await read_body(request, ResidencyAnswer)))

    @app.post(
        "/v1/nodes/{node_id}/challenges/{challenge_id}/open",
        response_model=ChallengeVerdict,
        openapi_extra=body_of(ChallengeOpening),
    )
    @public
    async def open_challenge(node_id: str, challenge_id: str, request: Request) -> Response:
        return _json(await proofs.open(node_id, challenge_id, await request.body()))


async def _hung_up(request: Request) -> None:
    """Returns when the caller has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        continue


def _json(reply: Model) -> Response:
    return Response(reply.canonical(), media_type=JSON)
