"""What a request of order entry asks for: forms, order ids, and the names by which orders and requests are known."""

from collections.abc import Callable
from hashlib import sha256
from typing import TypeVar

from fastapi import Request
from pydantic import ValidationError

from schemas.ids import ClientOrderId
from schemas.money import COUNTER_MAX
from schemas.signing import SIGNATURE_HEADER
from services.gateway import domain
from services.kit.http import ProblemError
from services.kit.idempotency import idempotency_key_of
from services.kit.inputs import read_number
from services.kit.request_parts import headers_of

SIGNATURE = SIGNATURE_HEADER.lower().encode()
Made = TypeVar("Made")


def read(validate, source):
    """Read a form; what is wrong with it becomes a problem."""
    try:
        return validate(source)
    except ValidationError as error:
        raise ProblemError(domain.code_of(error), domain.words_of(error)) from error


def command_from(build: Callable[[], Made]) -> Made:
    """Make a command of a form; terms that make none become a problem."""
    try:
        return build()
    except domain.BadForm as error:
        raise ProblemError(error.code, error.detail) from error


def order_number(request: Request) -> int:
    """Read the order id of a request's path."""
    number = read_number(request.path_params["order_id"], COUNTER_MAX)
    if not number:
        raise ProblemError("not_found", "order ids are positive numbers")
    return number


def client_id_in(request: Request, otherwise: str = "") -> str:
    """Return the client's id that a request names its order by; `otherwise` says what else the caller could do."""
    client_order_id = request.query_params.get("client_order_id")
    if not client_order_id:
        raise ProblemError("malformed_request", f"name the order with `client_order_id`{otherwise}")
    return client_order_id


def signature_or_key(request: Request) -> str:
    """Return what names an order that has no client id: the request's idempotency key, else its signature."""
    key = idempotency_key_of(request)
    return headers_of(request.scope)[SIGNATURE].decode("latin-1") if key is None else f"key:{key}"


def name_by(signature: str) -> ClientOrderId:
    """Return the name of what a client named by no id."""
    return f"auto-{sha256(signature.encode()).hexdigest()[:32]}"
