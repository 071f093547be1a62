"""The OpenAPI document of a service says what it serves: problems, who signs, references that lead somewhere."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, iter_route_contexts
from pydantic.json_schema import models_json_schema

from schemas import signing
from schemas.problems import EDGE_CODES, PROBLEM_MEDIA_TYPE, Problem

REFERENCE = "#/components/schemas/{model}"
LOCAL, METHODS = "#/$defs/", frozenset({"get", "put", "post", "delete", "patch"})
NEVER_SENT = ("HTTPValidationError", "ValidationError")
SECURITY = {
    "HourbookKey": (signing.KEY_HEADER, "The id of an Ed25519 API key."),
    "HourbookTimestamp": (signing.TIMESTAMP_HEADER, "Unix milliseconds, within the window of the venue's clock."),
    "HourbookNonce": (signing.NONCE_HEADER, "8 to 64 characters; each counts once."),
    "HourbookSignature": (signing.SIGNATURE_HEADER, "Hex of the signature over the request's text, see docs."),
}
SIGNED = [{name: [] for name in SECURITY}]
REPEATED = {200: {"description": "The same again; nothing changed."}}
PENDING = {202: {"description": "Taken; what became of it is not known yet."}}


def serve_document(app: FastAPI, summary: str = "", more: Callable[[dict[str, Any]], None] | None = None) -> None:
    """Lets the application serve its document, made at the first request; `more` adds what FastAPI cannot know."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = document(app, summary, more)
        return app.openapi_schema

    app.openapi = openapi


def document(app: FastAPI, summary: str, more: Callable[[dict[str, Any]], None] | None) -> dict[str, Any]:
    """Returns the document of an application."""
    text = get_openapi(title=app.title, version=app.version, summary=summary or None, routes=app.routes)
    schemas = text.setdefault("components", {}).setdefault("schemas", {})
    schemas |= models_json_schema([(Problem, "validation")], ref_template=REFERENCE)[1]["$defs"]
    if more is not None:
        more(text)
    for name in NEVER_SENT:
        schemas.pop(name, None)
    open_to_all = {
        (route.path_format, method.lower())
        for route in iter_route_contexts(app.routes)
        if isinstance(route.original_route, APIRoute) and getattr(route.endpoint, "is_public", False)
        for method in route.methods
    }
    for path, operations in text["paths"].items():
        for method, operation in operations.items():
            operation["security"] = [] if (path, method) in open_to_all else SIGNED
            _answer_problems(operation)
            for content in operation.get("requestBody", {}).get("content", {}).values():
                content["schema"] = _hoisted(content["schema"], schemas)
    text["components"]["securitySchemes"] = {
        name: {"type": "apiKey", "in": "header", "name": header, "description": words}
        for name, (header, words) in SECURITY.items()
    }
    return text


def _answer_problems(operation: dict[str, Any]) -> None:
    answers = operation["responses"]
    answers.pop("422", None)
    problem = {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": REFERENCE.format(model=Problem.__name__)}}}
    for status in sorted({*EDGE_CODES.values(), 422}):
        answers.setdefault(str(status), {"description": "A problem document.", "content": problem})


def _hoisted(schema: Any, schemas: dict[str, Any]) -> Any:
    """Returns a schema whose own definitions stand among the document's: a reference leads nowhere from within one."""
    if isinstance(schema, list):
        return [_hoisted(each, schemas) for each in schema]
    if not isinstance(schema, dict):
        return schema
    for name, own in schema.get("$defs", {}).items():
        schemas.setdefault(name, _hoisted(own, schemas))
    reference = schema.get("$ref", "")
    if isinstance(reference, str) and reference.startswith(LOCAL):
        return {"$ref": REFERENCE.format(model=reference.removeprefix(LOCAL))}
    return {name: _hoisted(value, schemas) for name, value in schema.items() if name != "$defs"}
