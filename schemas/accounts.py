"""API keys as the edges share them: every record of `keys.events` carries the signed request that it follows from, so
that no edge needs to believe the gateway.
"""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from schemas.base import Model, added
from schemas.ids import AccountId, Identifier, NodeId, PublicKey, Signature
from schemas.money import Amount

Scope = Literal["read", "trade", "operate", "sell_hw", "withdraw", "arbiter", "admin"]
ALL_SCOPES: tuple[Scope, ...] = ("read", "trade", "operate", "sell_hw", "withdraw", "arbiter", "admin")
NODE_SCOPES: tuple[Scope, ...] = ("read", "operate")
FIRST_SCOPES: tuple[Scope, ...] = ("read", "trade")  # those of a key with which a stranger opens an account
ROOT = "root"  # the id of the offline key that signs the venue's administrators
ADMIN_ACCOUNT = "venue-admin"
# Names that only an administrator gives: the venue's own, and such as people or programs take for ids of others.
RESERVED_PREFIXES = (
    *("venue", "guarantee", "external", "issued", "in_transit", "programme"),  # the books' own
    *("admin", "root", "hourbook", "k-", "key-", "node-"),
)


def is_reserved(account: str) -> bool:
    """Says whether a stranger may not open an account of this name."""
    return account.casefold().startswith(RESERVED_PREFIXES)


class SignedRequest(Model):
    """A request to the gateway as its caller signed it; `signature` is over `schemas.signing.request_text`."""

    key_id: Identifier
    method: Literal["POST", "DELETE"]
    path: Annotated[str, Field(max_length=512)]
    query: Annotated[str, Field(max_length=512)]
    body: Annotated[str, Field(max_length=65_536)]
    idempotency_key: Annotated[str, Field(max_length=128)]
    ts_ms: Annotated[int, Field(ge=1)]
    nonce: Annotated[str, Field(min_length=8, max_length=64)]
    signature: Signature


class NodeKeyProof(Model):
    """What a node shows for a key of its own; `signature` is the node's over `schemas.signing.node_key_text`."""

    token_id: Identifier
    signature: Signature


class ApiKeySet(Model):
    """The state of one API key, whole: the first record of a `key_id` makes it, one with `revoked` ends it for good.

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
    proof: SignedRequest | NodeKeyProof | None = added()


class AccountOpened(Model):
    """An account that an administrator opened; of one that a stranger opened its first key tells."""

    type: Literal["account_opened"] = "account_opened"
    account: AccountId
    proof: SignedRequest


class EnrolmentTokenIssued(Model):
    """A token that admits so many nodes of the account, until it expires or is revoked."""

    type: Literal["enrolment_token_issued"] = "enrolment_token_issued"
    token_id: Identifier
    account: AccountId
    expires_ms: Annotated[int, Field(ge=0)]
    nodes: Annotated[int, Field(ge=1)]
    proof: SignedRequest


class EnrolmentTokenRevoked(Model):
    """An enrolment token admits no more nodes from now on; those that it has admitted stay."""

    type: Literal["enrolment_token_revoked"] = "enrolment_token_revoked"
    token_id: Identifier
    account: AccountId
    revoked_ms: Annotated[int, Field(ge=0)]
    proof: SignedRequest


AnyKeyEvent = ApiKeySet | AccountOpened | EnrolmentTokenIssued | EnrolmentTokenRevoked
KeyEvent = Annotated[AnyKeyEvent, Field(discriminator="type")]
KEY_EVENT: TypeAdapter[AnyKeyEvent] = TypeAdapter(KeyEvent)


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
