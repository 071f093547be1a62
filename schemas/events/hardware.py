"""Events of hardware listings and their escrows."""

from typing import Literal

from schemas.events.header import Event, Posting
from schemas.ids import AccountId, Asset, GpuUuid, Identifier
from schemas.money import Amount, PositiveAmount


class HardwareLocked(Event):
    """GPUs are for sale and no longer for rent."""

    type: Literal["hardware_locked"] = "hardware_locked"
    listing_id: Identifier
    account: AccountId
    gpus: tuple[GpuUuid, ...]


class HardwareUnlocked(Event):
    """A listing ended without a sale; its GPUs are for rent again."""

    type: Literal["hardware_unlocked"] = "hardware_unlocked"
    listing_id: Identifier


class EscrowOpened(Event):
    """The buyer's money is held for a listing."""

    type: Literal["escrow_opened"] = "escrow_opened"
    escrow_id: Identifier
    listing_id: Identifier
    buyer: AccountId
    seller: AccountId
    asset: Asset
    amount_micros: PositiveAmount
    fee_micros: Amount
    postings: tuple[Posting, ...]


class EscrowReleased(Event):
    """The seller was paid, the GPUs are sold."""

    type: Literal["escrow_released"] = "escrow_released"
    escrow_id: Identifier
    listing_id: Identifier
    postings: tuple[Posting, ...]


class EscrowRefunded(Event):
    """The buyer has the money back; the GPUs are still listed."""

    type: Literal["escrow_refunded"] = "escrow_refunded"
    escrow_id: Identifier
    listing_id: Identifier
    postings: tuple[Posting, ...]
