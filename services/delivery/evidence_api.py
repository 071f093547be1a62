"""HTTP for the digest book: what people of the venue passed on, for everyone to read."""

from typing import Annotated

from fastapi import Depends, FastAPI, Request, Response

from schemas.delivery import DriverDigestForm, DriverDigestView
from services.delivery.domain import driver_fault
from services.delivery.edge_api import body_of, read_body
from services.delivery.effects import Effects, now_ms
from services.delivery.evidence import pass_on_digest
from services.delivery.once import answer_once
from services.delivery.settings import Settings
from services.delivery.store import Store
from services.kit.auth import Authenticator, public
from services.kit.http import ProblemError
from services.kit.idempotency import Asked, asking
from services.kit.rows import show_rows


def add_digest_routes(app: FastAPI, effects: Effects, settings: Settings, authenticator: Authenticator) -> None:
    """Adds reading and passing on of drivers' digests."""
    admin = Annotated[Asked, Depends(asking(authenticator, "admin"))]

    @app.get("/v1/driver-digests")
    @public
    async def list_digests() -> dict[str, object]:
        rows = await Store(effects.pool).rows("driver_digests", None, None)
        return {"items": show_rows(rows, lambda row: DriverDigestView(**row).model_dump(mode="json"))}

    @app.post(
        "/v1/driver-digests",
        status_code=201,
        response_model=DriverDigestView,
        openapi_extra=body_of(DriverDigestForm),
    )
    async def pass_on(request: Request, asked: admin) -> Response:
        form = await read_body(request, DriverDigestForm)
        if fault := driver_fault(form.driver_version, ""):
            raise ProblemError("malformed_request", f"driver_version: {fault}")

        async def work(store: Store) -> DriverDigestView:
            return await pass_on_digest(store, settings, form, asked.caller.account, now_ms())

        return await answer_once(effects, asked.attempt, work, 201)
