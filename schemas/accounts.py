"""API keys as the edges share them: the gateway publishes public keys, every edge with signed requests follows."""

from typing import Annotated, Literal

from pydantic import Field

from schemas.base import Model
from schemas.ids import AccountId, Identifier, PublicKey
from schemas.money import Amount

Scope = Literal["read", "trade", "operate", "sell_hw", "withdraw", "arbiter", "admin"]


class ApiKeySet(Model):
    """The state of one API key, whole; the last one per `key_id` on `keys.events` counts."""

    type: Literal["api_key_set"] = "api_key_set"
    key_id: Identifier
    account: AccountId
    public_key: PublicKey
    scopes: tuple[Scope, ...]
    expires_ms: Annotated[int, Field(ge=0)] | None
    ip_networks: tuple[str, ...]
    order_limit_micros: Amount | None
    revoked: bool


class EnrolmentToken(Model):
    """A one-time token that binds a node to an operator; signed by the gateway, burnt by delivery."""

    account: AccountId
    token_id: Identifier
    expires_ms: Annotated[int, Field(ge=0)]
    signature: Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]
