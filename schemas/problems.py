"""RFC 9457 problem documents: one shape and one list of stable codes for every edge."""

from typing import Literal

from pydantic import ConfigDict

from schemas.base import Model

PROBLEM_MEDIA_TYPE = "application/problem+json"
OrderState = Literal["none", "unknown", "live"]

# Codes of the edges; the engine's own are schemas.events.RejectCode and come through as 422 (409 for a conflict of
# client ids).
EDGE_CODES: dict[str, int] = {
    "malformed_request": 400,
    "bad_decimal": 400,
    "unsigned_request": 401,
    "unknown_key": 401,
    "bad_request_signature": 401,
    "timestamp_outside_window": 401,
    "nonce_used": 401,
    "key_expired": 401,
    "scope_missing": 403,
    "sign_up_closed": 403,
    "enrolment_token_refused": 403,
    "address_not_allowed": 403,
    "order_limit_exceeded": 403,
    "not_yours": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "request_timeout": 408,
    "conflict": 409,
    "body_too_large": 413,
    "url_too_long": 414,
    "too_many_requests": 429,
    "head_too_large": 431,
    "internal_error": 500,
    "unavailable": 503,
}


class Problem(Model):
    """What went wrong, in words and as a stable code; `order_state` says whether an order may be live all the same.

    Other members may stand beside these (RFC 9457, section 3.2): a refusal by the engine has `client_order_id`,
    `order_id`, `why_unfilled`, `seq` and `timing`.
    """

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    type: str
    title: str
    status: int
    code: str
    detail: str
    retryable: bool
    order_state: OrderState
    request_id: str
