"""What every event has: its place in the log, its money movements, why an order did not trade."""

from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from schemas.base import Model
from schemas.ids import AccountId, Asset, Digest
from schemas.measures import Milliseconds
from schemas.money import Amount, Price, SignedAmount

Count = Annotated[int, Field(ge=0)]


class Posting(NamedTuple):
    """One account's money movement in micro-units, and what it has afterwards. On the wire: an array in this order.

    An event has at most one for each account and asset (the net of what moved), none without a movement, in the
    byte order of account, then asset.

    The deltas of an event sum to zero per asset, except in `credited` and `debited`, `allocated` and `deallocated`,
    whose counter-leg is outside the engine, and for the vouchers that `programme_funded` makes.
    """

    account: AccountId
    asset: Asset
    available_delta: SignedAmount
    held_delta: SignedAmount
    available: Amount
    held: Amount


WhyReason = Literal[
    "no_liquidity",
    "price",
    "max_cost",
    "self_trade",
    "post_only",
    "no_node_free_in_all_hours",
    "auction",
    "velocity_halt",
    "price_band",
]


class WhyUnfilled(Model):
    """Why (the rest of) an order did not trade: the best opposite price (null: none) and the GPUs that were missing."""

    reason: WhyReason
    best_price_micros: Price | None
    missing_gpus: Count


class Event(Model):
    """The header of every event. `seq` has no holes; `index` of `count` tells a reader when it has seen all events of
    a command.

    `prev_link` is the chain before this command; after it: SHA-256(prev_link's 32 bytes ‖ the command's event bytes).
    """

    type: str
    shard: Count
    seq: Annotated[int, Field(ge=1)]
    in_offset: Count
    index: Count
    count: Annotated[int, Field(ge=1)]
    ts_ms: Milliseconds
    prev_link: Digest
