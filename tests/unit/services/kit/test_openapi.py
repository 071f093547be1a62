"""The document of a service: references from within a body lead somewhere, refusals are problems, and who signs."""

from fastapi import APIRouter, FastAPI

from schemas.base import Model
from services.delivery.edge_api import body_of
from services.kit.auth import public
from services.kit.openapi import SIGNED, serve_document


class Part(Model):
    """A part."""

    name: str


class Whole(Model):
    """A body that has parts."""

    parts: tuple[Part, ...]


def test_the_document_resolves_its_references_answers_problems_and_says_what_is_signed():
    app, router = FastAPI(), APIRouter()

    @app.post("/v1/wholes", openapi_extra=body_of(Whole))
    async def make(number: int) -> None: ...

    @router.get("/v1/open")
    @public
    async def read() -> Part: ...

    app.include_router(router)
    serve_document(app, "What it is for")
    document = app.openapi()
    assert document["info"]["summary"] == "What it is for"
    made, read_ = document["paths"]["/v1/wholes"]["post"], document["paths"]["/v1/open"]["get"]
    schema = made["requestBody"]["content"]["application/json"]["schema"]
    assert schema["properties"]["parts"]["items"] == {"$ref": "#/components/schemas/Part"}
    assert document["components"]["schemas"].keys() == {"Part", "Problem"}
    assert (made["security"], read_["security"]) == (SIGNED, [])
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    assert {made["responses"][status]["content"] == problem for status in ("400", "401", "404", "422", "503")} == {True}
    assert read_["responses"]["200"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Part"}
