"""Order entry's routes: method and path, the function that serves them, and how the OpenAPI document describes them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from fastapi import Request, Response

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
from services.gateway.context import GatewayContext
from services.gateway.routes import capacity, changes, orders, protection
from services.kit.openapi import REFERENCE

Endpoint = Callable[[GatewayContext, Request], Awaitable[Response]]
ORDER_FORMS = (OrderForm, BlockForm, FlexForm, CapacityForm, ResellForm)


@dataclass(frozen=True)
class HotRoute:
    """A route that FastAPI does not handle (see hot_path.py), and its description."""

    method: str
    path: str
    endpoint: Endpoint
    summary: str
    answers: dict[str, tuple[str, type]]
    forms: tuple[type, ...] = ()
    form_required: bool = True
    parameters: tuple[dict[str, Any], ...] = ()

    def describe(self) -> dict[str, Any]:
        """Return the operation object."""
        operation = {
            "tags": ["order entry"],
            "summary": self.summary,
            "operationId": self.endpoint.__name__,
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
    """Return the `content` of a body or answer in JSON: one of the models."""
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
HOT_ROUTES = (
    HotRoute("POST", "/v1/orders", orders.place, "Place an order of any kind", PLACED, ORDER_FORMS),
    HotRoute(
        "DELETE", "/v1/orders/{order_id}", orders.cancel, "Cancel one order by our id", CANCELED, parameters=(ORDER_ID,)
    ),
    HotRoute(
        "DELETE",
        "/v1/orders",
        orders.cancel_by_client_id,
        "Cancel one order by the client's id",
        CANCELED,
        parameters=(CLIENT_ID,),
    ),
    HotRoute(
        "POST",
        "/v1/orders/cancel-all",
        orders.cancel_all,
        "Cancel every order that fits the filters",
        CANCELED,
        (CancelForm,),
        form_required=False,
    ),
    HotRoute(
        "PATCH",
        "/v1/orders/{order_id}",
        changes.replace,
        "Replace one order by our id",
        REPLACED,
        (ReplaceForm,),
        parameters=(ORDER_ID,),
    ),
    HotRoute(
        "PATCH",
        "/v1/orders",
        changes.replace_by_client_id,
        "Replace one order by the client's id",
        REPLACED,
        (ReplaceForm,),
        parameters=(CLIENT_ID,),
    ),
    HotRoute(
        "POST",
        "/v1/orders/batch",
        changes.batch,
        "Place, cancel and replace several orders at once",
        BATCHED,
        (BatchForm,),
    ),
    HotRoute(
        "POST",
        "/v1/capacity/reprice",
        capacity.reprice,
        "Give all asks of a capacity order other prices",
        REPRICED,
        (RepriceForm,),
    ),
    HotRoute(
        "POST",
        "/v1/capacity/withdraw",
        capacity.withdraw,
        "Cancel the asks of a capacity order that deliver in a window",
        CANCELED,
        (WithdrawForm,),
    ),
    HotRoute(
        "POST",
        "/v1/cancel-all-after",
        protection.cancel_all_after,
        "Cancel everything unless this comes again in time",
        ARMED,
        (CancelAllAfterForm,),
    ),
    HotRoute(
        "PUT",
        "/v1/protection",
        protection.protect,
        "Pull the account's quotes of a product when too many trade too fast",
        PROTECTED,
        (ProtectionForm,),
    ),
)
