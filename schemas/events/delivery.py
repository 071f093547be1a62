"""Events of nodes, positions and claims."""

from typing import Annotated, Literal

from pydantic import Field

from schemas.events.header import Count, Event, Posting
from schemas.ids import AccountId, Asset, Contract, Digest, Identifier, NodeId
from schemas.measures import GpuSeconds, Level, Milliseconds, OrderId
from schemas.money import Amount, PositiveAmount, Price, SignedAmount
from schemas.orders import Qty
from schemas.venue import (
    NodeGpu,
    Nomination,
    Permille,
)


class NodeRegistered(Event):
    """A node may stand behind asks, as often as its GPUs, while its heartbeats are fresh."""

    type: Literal["node_registered"] = "node_registered"
    node: NodeId
    account: AccountId
    grade: Identifier
    hub: Identifier
    level: Level
    gpus: tuple[NodeGpu, ...]


class NodeLivenessChanged(Event):
    """A node's heartbeats became fresh or stale, or it was taken down; asks of a stale node are pulled after this
    event.
    """

    type: Literal["node_liveness_changed"] = "node_liveness_changed"
    node: NodeId
    alive: bool
    reason: Identifier


class GpusNominated(Event):
    """The GPUs that serve the positions of a contract on one node."""

    type: Literal["gpus_nominated"] = "gpus_nominated"
    contract: Contract
    node: NodeId
    nominations: tuple[Nomination, ...]


class PositionSettled(Event):
    """A position was settled (revision 1) or corrected: the inputs, the outcome of the settlement function, and the
    cash that moved now.
    """

    type: Literal["position_settled"] = "position_settled"
    position_id: Annotated[int, Field(ge=1)]
    revision: int
    contract: Contract
    node: NodeId
    buyer: AccountId
    operator: AccountId
    block_id: OrderId | None
    qty: Qty
    period_s: Count
    price_micros: Price
    index_micros: Price
    excused_gpu_s: GpuSeconds
    delivered_gpu_s: GpuSeconds
    used_gpu_s: GpuSeconds
    reservation_permille: Permille
    dead_band_permille: Permille
    full_damage_permille: Permille
    bond_micros: Amount
    fee_bps: int
    gross_micros: Amount
    damages_micros: Amount
    fee_micros: Amount
    buyer_micros: SignedAmount
    operator_micros: SignedAmount
    venue_micros: SignedAmount
    refund_micros: SignedAmount
    meter_digest: Digest
    postings: tuple[Posting, ...]


class DifferenceHeld(Event):
    """Two meters differ on a position just settled: of the buyer's money `held_micros` stays held, until a later
    revision.

    The position was paid for the lower figures; the higher ones are these `disputed` GPU-seconds more.
    """

    type: Literal["difference_held"] = "difference_held"
    position_id: Annotated[int, Field(ge=1)]
    revision: int
    buyer: AccountId
    operator: AccountId
    disputed_gpu_s: GpuSeconds
    disputed_used_gpu_s: GpuSeconds
    held_micros: Amount


class PayoutHeld(Event):
    """A position of a node that was of level T0 at the gate was settled: of what its operator earned, `held_micros`
    stays held until `until_ms`, or until a dispute that is open then is over. `position_finalized` pays it.
    """

    type: Literal["payout_held"] = "payout_held"
    position_id: Annotated[int, Field(ge=1)]
    revision: int
    operator: AccountId
    held_micros: Amount
    until_ms: Milliseconds


class DisputeOpened(Event):
    """A settled position is disputed: it becomes final only when that is over."""

    type: Literal["dispute_opened"] = "dispute_opened"
    position_id: Annotated[int, Field(ge=1)]
    revision: int
    opened_by: Literal["buyer", "operator", "venue"]
    reason: Identifier


class DisputeClosed(Event):
    """A dispute is over; `revision` is what the position was last settled by."""

    type: Literal["dispute_closed"] = "dispute_closed"
    position_id: Annotated[int, Field(ge=1)]
    revision: int
    reason: Identifier


class BlockEnded(Event):
    """After a long outage the buyer ended his block: as many positions, whose gate was open, end by the events that
    follow.
    """

    type: Literal["block_ended"] = "block_ended"
    block_id: OrderId
    account: AccountId
    reason: Identifier
    positions: Count


class PositionEnded(Event):
    """A position ended before its gate: escrow and bond are returned, the GPUs are the node's again."""

    type: Literal["position_ended"] = "position_ended"
    position_id: Annotated[int, Field(ge=1)]
    block_id: OrderId
    contract: Contract
    node: NodeId
    buyer: AccountId
    operator: AccountId
    qty: Qty
    escrow_micros: Amount
    bond_micros: Amount
    postings: tuple[Posting, ...]


class PositionFinalized(Event):
    """The time for disputes is over: the bond is returned, and a payout that was held is paid."""

    type: Literal["position_finalized"] = "position_finalized"
    position_id: Annotated[int, Field(ge=1)]
    postings: tuple[Posting, ...]


class ContractVoided(Event):
    """By the venue's fault nothing counts of what was traded in the contract: its positions are settled on nothing,
    and final, by the events that follow.
    """

    type: Literal["contract_voided"] = "contract_voided"
    contract: Contract
    reason: Identifier


class FeeReturned(Event):
    """The venue gave the fee of a void position's trade back."""

    type: Literal["fee_returned"] = "fee_returned"
    position_id: Annotated[int, Field(ge=1)]
    account: AccountId
    asset: Asset
    amount_micros: PositiveAmount
    postings: tuple[Posting, ...]


class GuaranteeDrawn(Event):
    """A correction took back more than its debtor had: the venue's account `guarantee` paid for him."""

    type: Literal["guarantee_drawn"] = "guarantee_drawn"
    position_id: Annotated[int, Field(ge=1)]
    revision: int
    debtor: AccountId
    creditor: AccountId
    asset: Asset
    amount_micros: PositiveAmount
    postings: tuple[Posting, ...]


class ClaimRecorded(Event):
    """What neither the debtor nor the guarantee could pay: it is taken from the debtor's next credits."""

    type: Literal["claim_recorded"] = "claim_recorded"
    claim_id: Annotated[int, Field(ge=1)]
    position_id: Annotated[int, Field(ge=1)]
    revision: int
    debtor: AccountId
    creditor: AccountId
    asset: Asset
    amount_micros: PositiveAmount


class ClaimPaid(Event):
    """A credit of the debtor paid (a part of) a claim."""

    type: Literal["claim_paid"] = "claim_paid"
    claim_id: Annotated[int, Field(ge=1)]
    debtor: AccountId
    creditor: AccountId
    asset: Asset
    amount_micros: PositiveAmount
    left_micros: Amount
    postings: tuple[Posting, ...]
