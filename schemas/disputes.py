"""Disputes of settled positions: opened by either side with evidence, decided by rules, an arbiter or time."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from schemas.base import Model
from schemas.delivery import DisprovenTime, Excuse, Recall, Witness
from schemas.ids import AccountId, Contract, Identifier, NodeId, Signature
from schemas.measures import Milliseconds, OrderId
from schemas.nodes import PositionId, SignedMessage

EVIDENCE_CHARACTERS_MAX = 16_384
SPANS_MAX = 256

Side = Literal["buyer", "operator"]
DisputeState = Literal["OPEN", "DECIDED", "WITHDRAWN"]
# What rules can decide is decided when it is opened; the others wait for a person where rules find nothing.
DisputeReason = Literal["late_reports", "venue_outage", "meters_differ", "no_access", "wrong_gpu", "other"]
Decider = Literal["rules", "arbiter", "deadline", "opener", "engine"]
Evidence = Annotated[str, Field(max_length=EVIDENCE_CHARACTERS_MAX)]


class DisputeForm(Model):
    """POST /v1/positions/{id}/disputes, with an `Idempotency-Key`: `evidence` is text, or JSON as text."""

    reason: DisputeReason
    evidence: Evidence = ""


class NodeDispute(SignedMessage):
    """POST /v1/nodes/{id}/disputes: the operator's agent disputes a position of its node, by the node's key."""

    purpose: ClassVar[str] = "dispute"
    agent: NodeId
    position_id: PositionId
    reason: DisputeReason
    evidence: Evidence = ""
    signature: Signature


class ArbiterInputs(Model):
    """What a person found: inputs of the meter that stand instead of those on record (null: those on record stand).

    Never an amount: what is owed is computed from them.
    """

    access_ms: Milliseconds | None = None
    released_ms: Milliseconds | None = None
    excuses: Annotated[tuple[Excuse, ...], Field(max_length=SPANS_MAX)] | None = None
    witnesses: Annotated[tuple[Witness, ...], Field(max_length=SPANS_MAX)] | None = None
    recalls: Annotated[tuple[Recall, ...], Field(max_length=SPANS_MAX)] | None = None
    differences: Literal["operator", "renter"] | None = None
    disproven: Annotated[tuple[DisprovenTime, ...], Field(max_length=SPANS_MAX)] | None = None


class BlockEnding(Model):
    """202 for POST /v1/blocks/{id}/end: the engine was asked to end what is left of the block, for this outage."""

    block_id: OrderId
    outage_ms: Milliseconds


class DisputeDecision(Model):
    """POST /v1/disputes/{id}/decision (scope `arbiter`)."""

    inputs: ArbiterInputs
    reason: Identifier


class DisputeView(Model):
    """GET /v1/disputes, /v1/disputes/{id}: for both parties and the arbiter.

    `outcome` is `corrected` or `confirmed` once it is DECIDED; `revision` is what the position was settled by then.
    `simulated`: the node's GPUs are those of the stand-in library.
    """

    dispute_id: Identifier
    position_id: PositionId
    contract: Contract
    node: NodeId
    simulated: bool
    buyer: AccountId
    operator: AccountId
    opened_by: Side | Literal["venue"]
    reason: DisputeReason
    evidence: Evidence
    state: DisputeState
    opened_ms: Milliseconds
    deadline_ms: Milliseconds
    decided_by: Decider | None
    decided_ms: Milliseconds | None
    decision_reason: str
    inputs: ArbiterInputs | None
    outcome: Literal["", "corrected", "confirmed", "refused"]
    revision: Annotated[int, Field(ge=1)]
