"""What the renter's own meter, inside a rented environment, and the delivery service say to each other.

HTTP, served by delivery. The buyer registers a public key for a lease with his API key; the meter that has the private
half sends `Report`s in a chain of its own, whose `agent` is `renter_agent(lease_id)`. Nothing of it passes through the
operator's hook.

    POST /v1/leases/{lease_id}/meter-key    MeterKeyForm   → 201 RenterPlace (200 on a repeat)
    POST /v1/leases/{lease_id}/place        PlaceRequest   → 200 RenterPlace
    POST /v1/leases/{lease_id}/reports      Report         → 200 RenterPlace
    POST /v1/leases/{lease_id}/challenges   ProofRequest   → 201 Challenge

A challenge is answered as a node's agent answers one, over `/v1/nodes/{agent}/challenges/…` with
`renter_agent(lease_id)` in the agent's place.
"""

from typing import Annotated, ClassVar

from pydantic import Field

from schemas.base import Model
from schemas.ids import Digest as Hash
from schemas.ids import Identifier, NodeId, PublicKey, Signature
from schemas.measures import Milliseconds
from schemas.nodes import Count, SignedMessage

RENTER_PREFIX = "renter:"


class MeterKeyForm(Model):
    """The public key of the buyer's own meter; the private half is brought in over the buyer's own ssh session."""

    public_key: PublicKey


class PlaceRequest(SignedMessage):
    """A meter that was started asks where its chain stands; the answer says nothing that its key may not know."""

    purpose: ClassVar[str] = "renter.place"
    agent: NodeId
    signature: Signature


class ProofRequest(SignedMessage):
    """The renter has the GPUs that he rents prove themselves to him, from inside: the operator's agent has no part."""

    purpose: ClassVar[str] = "renter.proof"
    agent: NodeId
    signature: Signature


class RenterPlace(Model):
    """Where a renter's chain stands, and the nonce of its next report; no report is asked for after the end."""

    lease_id: Identifier
    agent: NodeId
    seq: Count
    hash: Hash
    next_nonce: Hash
    server_time_ms: Milliseconds
    report_interval_ms: Annotated[int, Field(ge=1)]
    ends_ms: Milliseconds


def renter_agent(lease_id: str) -> str:
    """Returns the name that a lease's renter signs with."""
    return f"{RENTER_PREFIX}{lease_id}"


def lease_of_renter(agent: str) -> str | None:
    """Returns the lease whose renter has this name; None for a node's agent."""
    return agent.removeprefix(RENTER_PREFIX) if agent.startswith(RENTER_PREFIX) else None
