"""Events of money that comes in, goes out, or moves between shards."""

from typing import Literal

from schemas.events.header import Event, Posting
from schemas.ids import AccountId, Asset, Identifier
from schemas.money import PositiveAmount
from schemas.venue import Shard


class Credited(Event):
    """Money came in from outside."""

    type: Literal["credited"] = "credited"
    transfer_id: Identifier
    account: AccountId
    asset: Asset
    amount_micros: PositiveAmount
    postings: tuple[Posting, ...]


class Debited(Event):
    """Money went out."""

    type: Literal["debited"] = "debited"
    transfer_id: Identifier
    account: AccountId
    asset: Asset
    amount_micros: PositiveAmount
    postings: tuple[Posting, ...]


class Deallocated(Event):
    """Money left this shard and is in transit to another."""

    type: Literal["deallocated"] = "deallocated"
    transfer_id: Identifier
    account: AccountId
    asset: Asset
    amount_micros: PositiveAmount
    to_shard: Shard
    postings: tuple[Posting, ...]


class Allocated(Event):
    """Money that was in transit from another shard arrived."""

    type: Literal["allocated"] = "allocated"
    transfer_id: Identifier
    account: AccountId
    asset: Asset
    amount_micros: PositiveAmount
    from_shard: Shard
    postings: tuple[Posting, ...]
