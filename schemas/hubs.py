"""How a node shows that it is near a hub: its beacon measures round trips, and signs what it measured.

HTTP of a beacon (`services/beacon`):

    POST /v1/trips              TripStart   → 201 TripReply
    POST /v1/trips/{trip_id}    TripAnswer  → 200 TripReply, with the receipt after the last exchange

A beacon's clock runs from the moment it hands a token out until the signed token is back, so that a node can make
itself look farther, never nearer. The shortest of some exchanges counts.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from schemas.base import Model
from schemas.ids import Digest, Hub, Identifier, NodeId, PublicKey, Signature
from schemas.nodes import Count, SignedMessage, Text


class TripStart(Model):
    """A node begins to be measured; its id follows from its key."""

    public_key: PublicKey


class TripAnswer(SignedMessage):
    """The token, signed with the node's key."""

    purpose: ClassVar[str] = "trip"
    agent: NodeId
    trip_id: Identifier
    token: Digest
    signature: Signature


class HubReceipt(SignedMessage):
    """A beacon's word on a node: the shortest round trip of `exchanges`, in microseconds, by the beacon's clock."""

    purpose: ClassVar[str] = "hub_receipt"
    hub: Hub
    agent: NodeId
    trip_us: Annotated[int, Field(ge=0, le=3_600_000_000)]
    exchanges: Annotated[int, Field(ge=1, le=1000)]
    measured_ms: Count
    signature: Signature


class TripReply(Model):
    """A token that the node signs and sends back at once; after the last exchange the receipt instead."""

    trip_id: Identifier
    token: Digest | None
    receipt: HubReceipt | None = None


class HubClaim(SignedMessage):
    """POST /v1/nodes/{node_id}/hub: the node hands in what the beacon of its hub has signed."""

    purpose: ClassVar[str] = "hub"
    agent: NodeId
    receipt: HubReceipt
    signature: Signature


class HubView(Model):
    """How a node's hub is known. `declared`: by its operator's word alone. `measured`: its beacon saw `trip_us`, and
    nodes of the hub lie within `bound_us`.
    """

    evidence: Literal["declared", "measured"]
    trip_us: Count | None = None
    bound_us: Count | None = None
    measured_ms: Count | None = None


class HubBeacon(Model):
    """GET /v1/hubs: the beacon of a hub, and within which round trip its nodes lie. Other hubs are `declared`."""

    hub: Hub
    url: Text
    public_key: PublicKey
    bound_us: Count


class HubBeacons(Model):
    """GET /v1/hubs: all hubs that are measured."""

    items: tuple[HubBeacon, ...]
