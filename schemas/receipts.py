"""Receipts: what a position's parties read, and the signed file from which anybody recomputes one."""

from hashlib import sha256
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from schemas.base import Model, added
from schemas.delivery import MeterInputs, Quality
from schemas.ids import AccountId, Asset, Contract, Digest, GpuUuid, NodeId, PublicKey, Signature, Tier
from schemas.measures import GpuSeconds, Milliseconds
from schemas.money import Amount, Price, SignedAmount
from schemas.nodes import NodeReported, PositionId, RenterReported, SignedMessage
from schemas.venue import BasisPoints, Permille


class SettlementTerms(Model):
    """What the settlement function reads besides the metered GPU-seconds, the price and the index."""

    tier: Tier
    reservation_permille: Permille
    dead_band_permille: Permille
    full_damage_permille: Permille
    bond_micros: Amount
    fee_bps: BasisPoints
    noticed: bool
    recalled_gpus: Annotated[int, Field(ge=0, le=1_000_000)]
    disputed_gpu_s: GpuSeconds = added(0)
    disputed_used_gpu_s: GpuSeconds = added(0)


class Receipt(Model):
    """What was bought, what was delivered, and what it cost. Amounts in micro-units of `asset`.

    `terms` is null on receipts from before they could be recomputed. Where two meters differ, the lower figures are
    paid, and `held_micros` of the buyer's money stays held until a later revision. Where the node was of level T0 at
    the gate, `payout_held_micros` of what the operator earned stays held until `payout_held_until_ms`, or until a
    dispute that is open then is over. `simulated`: the node's GPUs are those of the stand-in library, so that nothing
    real was delivered.
    """

    position_id: PositionId
    revision: int
    contract: Contract
    node: NodeId
    buyer: AccountId
    operator: AccountId
    asset: Asset
    qty: int
    period_s: int
    gpus: tuple[GpuUuid, ...]
    price_micros: Price
    index_micros: Price
    contracted_gpu_s: GpuSeconds
    delivered_gpu_s: GpuSeconds
    excused_gpu_s: GpuSeconds
    used_gpu_s: GpuSeconds
    quality_gpu_ms: dict[Quality, Milliseconds]
    paid_micros: Amount
    refunded_micros: SignedAmount
    damages_micros: Amount
    fee_micros: Amount
    operator_micros: SignedAmount
    meter_digest: Digest
    settled_ms: Milliseconds
    terms: SettlementTerms | None = None
    held_micros: Amount = added(0)
    payout_held_micros: Amount = added(0)
    payout_held_until_ms: Milliseconds | None = added(None)
    simulated: bool = added(False)


class ReceiptFile(SignedMessage):
    """GET /v1/receipts/{id}/file: one revision of a receipt with all that it follows from.

    `meter` is what the meter read (null where none was asked: the contract was void), `reports` are the signed reports
    that it names, `renter_reports` those of the renter's own meter, `node_key` and `renter_key` the keys that signed
    them. The venue's signature is over `signing_bytes`, by the key whose id is `key_id_of(key)`.
    """

    purpose: ClassVar[str] = "receipt"
    format: Literal["hourbook.receipt.v1"] = "hourbook.receipt.v1"
    receipt: Receipt
    meter: MeterInputs | None
    node_key: PublicKey | None
    reports: tuple[NodeReported, ...]
    key_id: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    renter_key: PublicKey | None = added(None)
    renter_reports: tuple[RenterReported, ...] = added(())
    signature: Signature


class ReceiptKey(Model):
    """GET /v1/receipts/key: the public key that the venue signs receipts with now."""

    key_id: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    public_key: PublicKey


def key_id_of(public_key: str) -> str:
    """The name that a receipt gives to the venue's key: the first 16 hex digits of its SHA-256."""
    return sha256(bytes.fromhex(public_key)).hexdigest()[:16]
