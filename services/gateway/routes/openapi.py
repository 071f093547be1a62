"""The OpenAPI 3.1 document: FastAPI's own, with the bare routes, the problems and the signature put in."""

from dataclasses import dataclass
from typing import Any

from pydantic.json_schema import models_json_schema

from schemas import signing
from schemas.replies import (
    BatchReply,
    CancelReply,
    CancelTimerReply,
    OrderReply,
    ProtectionReply,
    ReplaceReply,
    RepriceReply,
    UnknownReply,
)
from schemas.rest import (
    BatchForm,
    BlockForm,
    CancelAllAfterForm,
    CancelForm,
    CapacityForm,
    FlexForm,
    OrderForm,
    ProtectionForm,
    ReplaceForm,
    RepriceForm,
    ResellForm,
    WithdrawForm,
)
from services.kit.openapi import REFERENCE

ORDER_FORMS = (OrderForm, BlockForm, FlexForm, CapacityForm, ResellForm)
BARE_MODELS = (
    *ORDER_FORMS,
    CancelForm,
    OrderReply,
    CancelReply,
    UnknownReply,
    ReplaceForm,
    RepriceForm,
    WithdrawForm,
    BatchForm,
    CancelAllAfterForm,
    ReplaceReply,
    RepriceReply,
    BatchReply,
    CancelTimerReply,
    ProtectionForm,
    ProtectionReply,
)


@dataclass(frozen=True)
class BareOperation:
    """A route that FastAPI does not handle (see hot_path.py), described; `endpoint` is a method of OrderEntry."""

    method: str
    path: str
    endpoint: str
    summary: str
    answers: dict[str, tuple[str, type]]
    forms: tuple[type, ...] = ()
    form_required: bool = True
    parameters: tuple[dict[str, Any], ...] = ()

    def describe(self) -> dict[str, Any]:
        """Returns the operation object."""
        operation = {
            "tags": ["order entry"],
            "summary": self.summary,
            "operationId": self.endpoint,
            "responses": {
                status: {"description": words, "content": json_of(model)}
                for status, (words, model) in self.answers.items()
            },
        }
        keyed = (IDEMPOTENCY_KEY,) if self.method in ("POST", "PATCH") else ()
        if parameters := (*self.parameters, *keyed):
            operation["parameters"] = list(parameters)
        if self.forms:
            operation["requestBody"] = {"required": self.form_required, "content": json_of(*self.forms)}
        return operation


def json_of(*models: type) -> dict[str, Any]:
    """Returns the `content` of a body or answer in JSON: one of the models."""
    references = [{"$ref": REFERENCE.format(model=model.__name__)} for model in models]
    return {"application/json": {"schema": references[0] if len(references) == 1 else {"oneOf": references}}}


PLACED = {
    "200": ("The same order again: its first result, `Idempotent-Replayed: true`.", OrderReply),
    "201": ("The engine took the order; the event is durable.", OrderReply),
    "202": ("No answer in time; the order may be live.", UnknownReply),
}
CANCELED = {
    "200": ("The engine carried the cancel out.", CancelReply),
    "202": ("No answer in time; the cancel may be done.", UnknownReply),
}
REPLACED = {
    "200": ("The order has the new terms, or had them already (`Idempotent-Replayed: true`).", ReplaceReply),
    "202": ("No answer in time; the order may have the new terms.", UnknownReply),
}
REPRICED = {
    "200": ("The asks have their prices.", RepriceReply),
    "202": ("No answer in time; the asks may have the new prices.", UnknownReply),
}
BATCHED = {
    "200": ("The engine decided every member.", BatchReply),
    "202": ("No answer in time; every member may have been carried out.", UnknownReply),
}
ARMED = {
    "200": ("The timer runs, or is disarmed.", CancelTimerReply),
    "202": ("No answer in time; the timer may run.", UnknownReply),
}
PROTECTED = {
    "200": ("The protection stands, or there is none any more.", ProtectionReply),
    "202": ("No answer in time; the protection may stand.", UnknownReply),
}
IDEMPOTENCY_KEY = {
    "name": signing.IDEMPOTENCY_HEADER,
    "in": "header",
    "required": False,
    "schema": {"type": "string", "pattern": "^[\\x21-\\x7e]{1,128}$"},
    "description": "Names this request: the same again gets the first answer, another one under the name is 409.",
}
ORDER_ID = {"name": "order_id", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 1}}
CLIENT_ID = {"name": "client_order_id", "in": "query", "required": True, "schema": {"type": "string", "maxLength": 64}}
BARE_OPERATIONS = (
    BareOperation("POST", "/v1/orders", "place", "Place an order of any kind", PLACED, ORDER_FORMS),
    BareOperation(
        "DELETE", "/v1/orders/{order_id}", "cancel", "Cancel one order by our id", CANCELED, parameters=(ORDER_ID,)
    ),
    BareOperation(
        "DELETE",
        "/v1/orders",
        "cancel_by_client_id",
        "Cancel one order by the client's id",
        CANCELED,
        parameters=(CLIENT_ID,),
    ),
    BareOperation(
        "POST",
        "/v1/orders/cancel-all",
        "cancel_all",
        "Cancel every order that fits the filters",
        CANCELED,
        (CancelForm,),
        form_required=False,
    ),
    BareOperation(
        "PATCH",
        "/v1/orders/{order_id}",
        "replace",
        "Replace one order by our id",
        REPLACED,
        (ReplaceForm,),
        parameters=(ORDER_ID,),
    ),
    BareOperation(
        "PATCH",
        "/v1/orders",
        "replace_by_client_id",
        "Replace one order by the client's id",
        REPLACED,
        (ReplaceForm,),
        parameters=(CLIENT_ID,),
    ),
    BareOperation(
        "POST", "/v1/orders/batch", "batch", "Place, cancel and replace several orders at once", BATCHED, (BatchForm,)
    ),
    BareOperation(
        "POST",
        "/v1/capacity/reprice",
        "reprice",
        "Give all asks of a capacity order other prices",
        REPRICED,
        (RepriceForm,),
    ),
    BareOperation(
        "POST",
        "/v1/capacity/withdraw",
        "withdraw",
        "Cancel the asks of a capacity order that deliver in a window",
        CANCELED,
        (WithdrawForm,),
    ),
    BareOperation(
        "POST",
        "/v1/cancel-all-after",
        "cancel_all_after",
        "Cancel everything unless this comes again in time",
        ARMED,
        (CancelAllAfterForm,),
    ),
    BareOperation(
        "PUT",
        "/v1/protection",
        "protect",
        "Pull the account's quotes of a product when too many trade too fast",
        PROTECTED,
        (ProtectionForm,),
    ),
)


def add_bare_operations(document: dict[str, Any]) -> None:
    """Adds the routes that FastAPI does not handle, and their models."""
    for operation in BARE_OPERATIONS:
        document["paths"].setdefault(operation.path, {})[operation.method.lower()] = operation.describe()
    models = [(model, "validation") for model in BARE_MODELS]
    document["components"]["schemas"] |= models_json_schema(models, ref_template=REFERENCE)[1]["$defs"]
