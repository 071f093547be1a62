"""The first answer to a request that carried an `Idempotency-Key`, as a service keeps it on a topic of its own."""

from typing import Annotated, Literal

from pydantic import Field

from schemas.base import Model
from schemas.ids import AccountId, NodeId


class FirstAnswer(Model):
    """What `account` was answered under `key`; `request` names what was asked of what, with the body's SHA-256.

    It stands beside the records of what the request did, so that a database that is made again knows both.
    """

    account: AccountId
    key: Annotated[str, Field(min_length=1, max_length=128)]
    request: str
    status: Annotated[int, Field(ge=200, le=299)]
    answer: str


class RequestAnswered(Model):
    """The first answer to a request about a node or what it has sold, on `meter.reports`."""

    type: Literal["request_answered"] = "request_answered"
    node_id: NodeId
    received_ms: Annotated[int, Field(ge=0)]
    first: FirstAnswer
