"""Events of money that comes in and goes out."""

from typing import Literal

from schemas.events.header import Event, Posting
from schemas.ids import AccountId, Asset, Identifier
from schemas.money import PositiveAmount


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
