"""The closed set of events on the event log: what the engine decided, with everything a view needs and every money
movement.
"""

from typing import Annotated, Literal, NamedTuple

from pydantic import Field, TypeAdapter

from schemas.base import Model
from schemas.ids import AccountId, Asset, ClientOrderId, Contract, Digest, GpuUuid, Identifier, NodeId, Product
from schemas.money import Amount, PositiveAmount, Price, SignedAmount
from schemas.orders import OrderId, Qty, SelfTradePrevention, Side, TimeInForce, UnixSeconds
from schemas.venue import (
    DefineProduct,
    GpuSeconds,
    Level,
    Milliseconds,
    NodeGpu,
    Nomination,
    Permille,
    ProductState,
    Source,
)

Count = Annotated[int, Field(ge=0)]
ContractState = Literal["OPEN", "LOCKED", "EXPIRED", "DELIVERING", "METERED"]
CancelReason = Literal[
    "user",
    "mass",
    "stp",
    "ioc_remainder",
    "post_only_cross",
    "stale_heartbeat",
    "node_down",
    "hardware_listed",
    "admin",
]
RejectCode = Literal[
    "malformed",
    "bad_signature",
    "unknown_source",
    "not_permitted",
    "duplicate",
    "number_gap",
    "genesis_refused",
    "no_genesis",
    "stale_epoch",
    "unknown_product",
    "unlisted_contract",
    "gate_closed",
    "product_closed",
    "product_halted",
    "off_tick",
    "off_lot",
    "bad_quantity",
    "bad_terms",
    "unbacked_ask",
    "unknown_node",
    "not_the_owner",
    "node_not_alive",
    "wrong_product_for_node",
    "insufficient_capacity",
    "insufficient_funds",
    "amount_overflow",
    "fok_not_filled",
    "client_order_id_conflict",
    "unknown_order",
    "order_closed",
    "unknown_position",
    "already_settled",
    "not_metered",
    "bad_meter_values",
    "already_fixed",
    "too_late",
    "bad_nomination",
    "unknown_gpu",
    "gpu_registered_elsewhere",
    "gpu_not_free",
    "unknown_listing",
    "unknown_escrow",
    "wrong_state",
    "transfer_exists",
]


class Posting(NamedTuple):
    """One account's money movement in micro-units, and what it has afterwards. On the wire: an array in this order.

    An event has at most one for each account and asset (the net of what moved), none without a movement, in the
    byte order of account, then asset.

    The deltas of an event sum to zero per asset, except in `credited` and `debited`, whose counter-leg is outside the
    engine.
    """

    account: AccountId
    asset: Asset
    available_delta: SignedAmount
    held_delta: SignedAmount
    available: Amount
    held: Amount


class WhyUnfilled(Model):
    """Why (the rest of) an order did not trade: the best opposite price (null: none) and the GPUs that were missing."""

    reason: Literal["no_liquidity", "price", "max_cost", "self_trade", "no_node_free_in_all_hours"]
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


# -- the venue ---------------------------------------------------------------------------------------------------------


class GenesisApplied(Event):
    """The log began."""

    type: Literal["genesis_applied"] = "genesis_applied"
    ruleset: int
    sources: tuple[Source, ...]


class EpochStarted(Event):
    """A new engine process took over."""

    type: Literal["epoch_started"] = "epoch_started"
    epoch: int


class ServiceKeySet(Event):
    """A source's batches are checked with another key from now on."""

    type: Literal["service_key_set"] = "service_key_set"
    source: Source


class ProductDefined(Event):
    """A product's terms as they stand."""

    type: Literal["product_defined"] = "product_defined"
    terms: DefineProduct


class ProductStateChanged(Event):
    """Trading in a product was opened, halted or restricted."""

    type: Literal["product_state_changed"] = "product_state_changed"
    product: Product
    state: ProductState
    reason: Identifier


class ContractsListed(Event):
    """Contracts of a product opened: every period that starts in [first_start_s, last_start_s].

    Only what is new is named; after a long silence of the log the contracts whose gate has passed meanwhile never open.
    """

    type: Literal["contracts_listed"] = "contracts_listed"
    product: Product
    period_s: Count
    first_start_s: UnixSeconds
    last_start_s: UnixSeconds


class ContractStateChanged(Event):
    """A contract reached its gate, its delivery or its end. Never traded: EXPIRED at the gate, and nothing further."""

    type: Literal["contract_state_changed"] = "contract_state_changed"
    contract: Contract
    state: ContractState
    positions: Count


class IndexSet(Event):
    """The index of a contract is fixed."""

    type: Literal["index_set"] = "index_set"
    contract: Contract
    index_micros: Price
    level: int
    method: Identifier
    inputs_digest: Digest


class BalanceDigest(Event):
    """SHA-256 over all balances, after the records whose offset divides by 4,096, for the ledger to compare.

    One line `account|asset|available|held\\n` for each pair of account and asset that a posting ever named (zeros too),
    in the byte order of account, then asset. It is the last event of its record.
    """

    type: Literal["balance_digest"] = "balance_digest"
    digest: Digest


class RecordRejected(Event):
    """A record of the log could not be taken: broken bytes, a bad signature, a duplicate or a gap in a source's
    numbers.
    """

    type: Literal["record_rejected"] = "record_rejected"
    source: Source | None
    number: int | None
    code: RejectCode


class CommandRejected(Event):
    """One command of a privileged batch broke a rule; the others of the batch stand."""

    type: Literal["command_rejected"] = "command_rejected"
    source: Source
    number: int
    position: Count
    command: Identifier
    code: RejectCode


# -- orders ------------------------------------------------------------------------------------------------------------


class OrderAccepted(Event):
    """An order was taken and its money or bond held. Views add `qty` to the book at its price; trades and cancels
    take it off again.

    Asks of a capacity order have kind `capacity` and name it in `parent_id`.
    """

    type: Literal["order_accepted"] = "order_accepted"
    order_id: OrderId
    parent_id: OrderId | None
    command_id: Identifier
    account: AccountId
    client_order_id: ClientOrderId | None
    contract: Contract
    side: Side
    kind: Literal["limit", "market", "capacity"]
    qty: Qty
    price_micros: Price | None
    max_cost_micros: PositiveAmount | None
    tif: TimeInForce
    post_only: bool
    node: NodeId | None
    stp: SelfTradePrevention
    postings: tuple[Posting, ...]


class BlockAccepted(Event):
    """A block bid was taken and its money held. It stands in no hour book."""

    type: Literal["block_accepted"] = "block_accepted"
    order_id: OrderId
    command_id: Identifier
    account: AccountId
    client_order_id: ClientOrderId
    product: Product
    start_s: UnixSeconds
    periods: Count
    qty: Qty
    min_qty: Qty
    limit_price_micros: Price
    max_cost_micros: PositiveAmount | None
    tif: TimeInForce
    stp: SelfTradePrevention
    postings: tuple[Posting, ...]


class CapacityAccepted(Event):
    """A capacity order was taken; its asks follow, one `order_accepted` for each period."""

    type: Literal["capacity_accepted"] = "capacity_accepted"
    order_id: OrderId
    command_id: Identifier
    account: AccountId
    client_order_id: ClientOrderId
    product: Product
    node: NodeId
    gpus: Qty
    from_s: UnixSeconds
    to_s: UnixSeconds
    floor_price_micros: Price | None
    floor_curve_micros: tuple[Price, ...] | None


class OrderRejected(Event):
    """A command of a trader or operator broke a rule; nothing changed. `order_id` names the order meant, where there
    is one.
    """

    type: Literal["order_rejected"] = "order_rejected"
    command_id: Identifier
    command: Identifier
    account: AccountId
    client_order_id: ClientOrderId | None
    order_id: OrderId | None
    code: RejectCode
    why_unfilled: WhyUnfilled | None


class OrderDuplicate(Event):
    """The same client id with the same body came again: nothing happens, `first_offset` is where the first result
    stands in the log.
    """

    type: Literal["order_duplicate"] = "order_duplicate"
    command_id: Identifier
    account: AccountId
    client_order_id: ClientOrderId
    order_id: OrderId | None
    first_offset: Count


class OrderCanceled(Event):
    """What was left of an order, a block or an ask of a capacity order is gone, its hold returned."""

    type: Literal["order_canceled"] = "order_canceled"
    order_id: OrderId
    account: AccountId
    client_order_id: ClientOrderId | None
    kind: Literal["limit", "market", "capacity", "block"]
    contract: Contract | None
    side: Side
    price_micros: Price | None
    qty_left: Qty
    reason: CancelReason
    why_unfilled: WhyUnfilled | None
    postings: tuple[Posting, ...]


class OrderReduced(Event):
    """An ask keeps its id and priority but stands for fewer GPUs, because its node has fewer to rent out; bond is
    returned.
    """

    type: Literal["order_reduced"] = "order_reduced"
    order_id: OrderId
    account: AccountId
    client_order_id: ClientOrderId | None
    kind: Literal["limit", "capacity"]
    contract: Contract
    side: Side
    price_micros: Price
    qty_off: Qty
    qty_left: Qty
    reason: CancelReason
    postings: tuple[Posting, ...]


class OrderExpired(Event):
    """The gate closed on what was left of an order or a block; its hold is returned."""

    type: Literal["order_expired"] = "order_expired"
    order_id: OrderId
    account: AccountId
    client_order_id: ClientOrderId | None
    kind: Literal["limit", "capacity", "block"]
    contract: Contract | None
    side: Side
    price_micros: Price | None
    qty_left: Qty
    postings: tuple[Posting, ...]


class CancelDone(Event):
    """A cancel or mass cancel was carried out; `canceled` counts the orders (their own events came before this one)."""

    type: Literal["cancel_done"] = "cancel_done"
    command_id: Identifier
    account: AccountId
    canceled: Count


class Trade(Event):
    """A fill at the maker's price: one new position. `escrow_micros` is the buyer's, `bond_micros` the operator's,
    both held.
    """

    type: Literal["trade"] = "trade"
    trade_id: Annotated[int, Field(ge=1)]
    position_id: Annotated[int, Field(ge=1)]
    contract: Contract
    price_micros: Price
    qty: Qty
    taker_side: Side
    maker_order_id: OrderId
    taker_order_id: OrderId
    buyer: AccountId
    seller: AccountId
    node: NodeId
    block_id: OrderId | None
    escrow_micros: Amount
    bond_micros: Amount
    buyer_fee_micros: Amount
    maker_left: Count
    taker_left: Count
    postings: tuple[Posting, ...]


# -- money -------------------------------------------------------------------------------------------------------------


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


# -- delivery ----------------------------------------------------------------------------------------------------------


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


class PositionFinalized(Event):
    """The time for disputes is over: the bond is returned."""

    type: Literal["position_finalized"] = "position_finalized"
    position_id: Annotated[int, Field(ge=1)]
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


# -- hardware ----------------------------------------------------------------------------------------------------------


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


AnyEvent = Annotated[
    GenesisApplied
    | EpochStarted
    | ServiceKeySet
    | ProductDefined
    | ProductStateChanged
    | ContractsListed
    | ContractStateChanged
    | IndexSet
    | BalanceDigest
    | RecordRejected
    | CommandRejected
    | OrderAccepted
    | BlockAccepted
    | CapacityAccepted
    | OrderRejected
    | OrderDuplicate
    | OrderCanceled
    | OrderReduced
    | OrderExpired
    | CancelDone
    | Trade
    | Credited
    | Debited
    | NodeRegistered
    | NodeLivenessChanged
    | GpusNominated
    | PositionSettled
    | PositionFinalized
    | GuaranteeDrawn
    | ClaimRecorded
    | ClaimPaid
    | HardwareLocked
    | HardwareUnlocked
    | EscrowOpened
    | EscrowReleased
    | EscrowRefunded,
    Field(discriminator="type"),
]
EVENT: TypeAdapter[AnyEvent] = TypeAdapter(AnyEvent)
