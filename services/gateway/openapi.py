"""The OpenAPI 3.1 document: FastAPI's, with the bodies and answers of the bare routes, problems and signatures."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic.json_schema import models_json_schema

from schemas import signing
from schemas.problems import EDGE_CODES, PROBLEM_MEDIA_TYPE, Problem
from schemas.replies import CancelReply, OrderReply, UnknownReply
from schemas.rest import BlockForm, CancelForm, CapacityForm, OrderForm

REFERENCE = "#/components/schemas/{model}"
SECURITY = {
    "HourbookKey": (signing.KEY_HEADER, "The id of an Ed25519 API key."),
    "HourbookTimestamp": (signing.TIMESTAMP_HEADER, "Unix milliseconds, within the window of the venue's clock."),
    "HourbookNonce": (signing.NONCE_HEADER, "8 to 64 characters; each counts once."),
    "HourbookSignature": (signing.SIGNATURE_HEADER, "Hex of the signature over the request's text, see docs."),
}
BARE_MODELS = (OrderForm, BlockForm, CapacityForm, CancelForm, OrderReply, CancelReply, UnknownReply, Problem)


def json_of(*models: type) -> dict[str, Any]:
    """Returns the `content` of a body or answer in JSON: one of the models."""
    references = [{"$ref": REFERENCE.format(model=model.__name__)} for model in models]
    return {"application/json": {"schema": references[0] if len(references) == 1 else {"oneOf": references}}}


PLACE = {
    "requestBody": {"required": True, "content": json_of(OrderForm, BlockForm, CapacityForm)},
    "responses": {
        "200": {"description": "A repeat: the first result again.", "content": json_of(OrderReply)},
        "201": {"description": "The engine took the order; the event is durable.", "content": json_of(OrderReply)},
        "202": {"description": "No answer in time; the order may be live.", "content": json_of(UnknownReply)},
    },
}
CANCEL_ANSWERS = {
    "200": {"description": "The engine carried the cancel out.", "content": json_of(CancelReply)},
    "202": {"description": "No answer in time; the cancel may be done.", "content": json_of(UnknownReply)},
}
CANCEL_ONE = {"responses": CANCEL_ANSWERS}
CANCEL_ONE_BY_ID = CANCEL_ONE | {
    "parameters": [{"name": "order_id", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 1}}]
}
CANCEL_ONE_BY_CLIENT_ID = CANCEL_ONE | {
    "parameters": [
        {"name": "client_order_id", "in": "query", "required": True, "schema": {"type": "string", "maxLength": 64}}
    ]
}
CANCEL_ALL = {"requestBody": {"required": False, "content": json_of(CancelForm)}, "responses": CANCEL_ANSWERS}


def document(app: FastAPI) -> dict[str, Any]:
    """Builds the document once."""
    if app.openapi_schema is None:
        text = get_openapi(
            title="Hourbook gateway",
            version=app.version,
            summary="Orders, accounts and keys of an exchange for GPU-hours",
            routes=app.routes,
        )
        components = text.setdefault("components", {})
        models = [(model, "validation") for model in BARE_MODELS]
        components.setdefault("schemas", {}).update(models_json_schema(models, ref_template=REFERENCE)[1]["$defs"])
        components["securitySchemes"] = {
            name: {"type": "apiKey", "in": "header", "name": header, "description": words}
            for name, (header, words) in SECURITY.items()
        }
        for path in text["paths"].values():
            for operation in path.values():
                _complete(operation)
        components["schemas"].pop("HTTPValidationError", None)
        components["schemas"].pop("ValidationError", None)
        app.openapi_schema = text
    return app.openapi_schema


def _complete(operation: dict[str, Any]) -> None:
    operation["security"] = [{name: [] for name in SECURITY}]
    answers = operation["responses"]
    answers.pop("422", None)
    problem = {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": REFERENCE.format(model="Problem")}}}
    for status in sorted({*EDGE_CODES.values(), 422}):
        answers.setdefault(str(status), {"description": "A problem document.", "content": problem})


class BareRoute(APIRoute):
    """A route whose endpoint takes the bare request, because FastAPI's own handling costs more than the whole work."""

    def get_route_handler(self):
        """Returns the endpoint itself; it checks the signature and the scope."""
        return self.endpoint
