"""API keys as the edges share them: the gateway publishes public keys, every edge with signed requests follows."""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from schemas.base import Model, added
from schemas.ids import AccountId, Identifier, NodeId, PublicKey, Signature
from schemas.money import Amount

Scope = Literal["read", "trade", "operate", "sell_hw", "withdraw", "arbiter", "admin"]


class ApiKeySet(Model):
    """The state of one API key, whole; the last one per `key_id` on `keys.events` counts.

    With a `node` it is that node's own: it acts at the gateway alone, on the node's capacity orders and positions.
    """

    type: Literal["api_key_set"] = "api_key_set"
    key_id: Identifier
    account: AccountId
    public_key: PublicKey
    scopes: tuple[Scope, ...]
    expires_ms: Annotated[int, Field(ge=0)] | None
    ip_networks: tuple[str, ...]
    order_limit_micros: Amount | None
    revoked: bool
    node: NodeId | None = added()


class EnrolmentTokenRevoked(Model):
    """An enrolment token admits no more nodes from now on; those that it has admitted stay."""

    type: Literal["enrolment_token_revoked"] = "enrolment_token_revoked"
    token_id: Identifier
    account: AccountId
    revoked_ms: Annotated[int, Field(ge=0)]


KeyEvent = Annotated[ApiKeySet | EnrolmentTokenRevoked, Field(discriminator="type")]
KEY_EVENT: TypeAdapter[ApiKeySet | EnrolmentTokenRevoked] = TypeAdapter(KeyEvent)


class EnrolmentToken(Model):
    """A token that binds nodes to an operator, one by default; signed by the gateway, burnt by delivery.

    One for several `nodes` admits so many, until it expires or is revoked.
    """

    account: AccountId
    token_id: Identifier
    expires_ms: Annotated[int, Field(ge=0)]
    signature: Signature
    nodes: Annotated[int, Field(ge=1)] = added(1)


class NodeKeyForm(Model):
    """POST /v1/node-keys: the node asks for its own key to act at the gateway, by the token that it enrolls with.

    `signature` is the node's over `node_key_text`, so that nobody registers a key that he does not hold.
    """

    token: EnrolmentToken
    public_key: PublicKey
    signature: Signature
