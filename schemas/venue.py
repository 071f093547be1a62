"""Commands of the venue's own services: reference data, money, nodes, delivery, hardware. They travel signed, in
batches.
"""

from typing import Annotated, Literal

from pydantic import Field

from schemas.base import Model
from schemas.ids import (
    AccountId,
    Asset,
    Contract,
    Digest,
    GpuUuid,
    Grade,
    Hub,
    Identifier,
    NodeId,
    Product,
    PublicKey,
    Signature,
    Tier,
)
from schemas.measures import GpuSeconds, Level, Milliseconds, OrderId
from schemas.money import COUNTER_MAX, Amount, PositiveAmount, Price
from schemas.orders import Side, UnixSeconds
from schemas.trading_rules import ProductState, TradingRules
from schemas.vouchers import DefineProgramme, DefundProgramme, FundProgramme, IssueVoucher, SetAffiliation

Source = Literal["admin", "matching", "ledger", "delivery", "listings", "market_data", "gateway"]
Permille = Annotated[int, Field(ge=0, le=1000)]
BasisPoints = Annotated[int, Field(ge=0, le=10_000)]
Seconds = Annotated[int, Field(ge=0, le=10_000_000)]
Shard = Annotated[int, Field(ge=0, le=1023)]


Ruleset = Annotated[int, Field(ge=1, le=1_000_000)]
NEWEST_RULESET = 5  # matching_engine/rules/rulesets.py says what each one changed


class ServiceKeyEntry(Model):
    """A service's name in the log and the public key that its batches are checked with."""

    source: Source
    public_key: PublicKey


class Genesis(Model):
    """The first record of a log: which shard it is and whose signatures count. A second one is refused."""

    type: Literal["genesis"] = "genesis"
    shard: Shard
    ruleset: Ruleset
    service_keys: tuple[ServiceKeyEntry, ...]


class SetRuleset(Model):
    """Lets the engine go on by newer rules from this record on (admin only); there is no way back."""

    type: Literal["set_ruleset"] = "set_ruleset"
    ruleset: Ruleset


class Tick(Model):
    """Lets log time pass when nothing else happens; the matching process appends one every 250 ms."""

    type: Literal["tick"] = "tick"


class Epoch(Model):
    """A new engine process takes over; an engine that reads a newer epoch than its own stops. Extends node liveness
    once.
    """

    type: Literal["epoch"] = "epoch"
    epoch: Annotated[int, Field(ge=1, le=COUNTER_MAX)]


class ServiceKey(Model):
    """Sets the public key of a source (rotation); only `admin` may."""

    type: Literal["service_key"] = "service_key"
    source: Source
    public_key: PublicKey


class DefineProduct(Model):
    """Reference data of a product; contracts are listed on a rolling horizon from then on. Defining it again changes
    only later contracts' terms.
    """

    type: Literal["define_product"] = "define_product"
    product: Product
    grade: Grade
    hub: Hub
    tier: Tier
    currency: Asset
    lot: Annotated[int, Field(ge=1, le=64)]
    tick_micros: Price
    period_s: Annotated[int, Field(ge=1, le=86_400)]
    horizon_periods: Annotated[int, Field(ge=1, le=10_000)]
    gate_lead_s: Seconds
    grace_s: Seconds
    final_after_s: Seconds
    maker_fee_bps: BasisPoints
    taker_fee_bps: BasisPoints
    settlement_fee_bps: BasisPoints
    reservation_permille: Permille
    dead_band_permille: Permille
    full_damage_permille: Permille
    bond_permille: Annotated[tuple[Permille, ...], Field(min_length=4, max_length=4)]
    block_trials_per_command: Annotated[int, Field(ge=1, le=1_000_000)]
    trading: TradingRules = TradingRules()


class SetProductState(Model):
    """Opens, halts or restricts trading in one product, or in all (`product` null). An AUCTION with `opens_after_s`
    ends by itself.
    """

    type: Literal["set_product_state"] = "set_product_state"
    product: Product | None
    state: ProductState
    reason: Identifier
    opens_after_s: Seconds | None = None


class SetAccountLimits(Model):
    """What one account may do at most (admin only); null or zero: no such limit. The last command counts whole.

    `max_position_gpus` bounds an account's GPUs per contract and side, traded and resting together. In every window of
    `throttle_window_s` of log time `throttle_free_orders` are taken, and `throttle_orders_per_trade` more for a trade.
    """

    type: Literal["set_account_limits"] = "set_account_limits"
    account: AccountId
    max_open_orders: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    max_position_gpus: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    throttle_window_s: Seconds = 0
    throttle_free_orders: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    throttle_orders_per_trade: Annotated[int, Field(ge=0, le=1_000_000)] = 0


class CancelAccountOrders(Model):
    """The venue cancels the orders of an account that fit all the filters given (null: any), as in `mass_cancel`."""

    type: Literal["cancel_account_orders"] = "cancel_account_orders"
    account: AccountId
    product: Product | None
    contract: Contract | None
    side: Side | None
    from_s: UnixSeconds | None
    to_s: UnixSeconds | None
    reason: Identifier


class Credit(Model):
    """Money came in from outside (ledger only)."""

    type: Literal["credit"] = "credit"
    transfer_id: Identifier
    account: AccountId
    asset: Asset
    amount_micros: PositiveAmount


class Debit(Model):
    """Money goes out; refused when not available (ledger only)."""

    type: Literal["debit"] = "debit"
    transfer_id: Identifier
    account: AccountId
    asset: Asset
    amount_micros: PositiveAmount


class Deallocate(Model):
    """Money leaves this shard for another, where an `allocate` of the same id brings it in; refused when not available
    (ledger only).
    """

    type: Literal["deallocate"] = "deallocate"
    transfer_id: Identifier
    account: AccountId
    asset: Asset
    amount_micros: PositiveAmount
    to_shard: Shard


class Allocate(Model):
    """Money that another shard let go arrives in this one (ledger only)."""

    type: Literal["allocate"] = "allocate"
    transfer_id: Identifier
    account: AccountId
    asset: Asset
    amount_micros: PositiveAmount
    from_shard: Shard


class NodeGpu(Model):
    """One GPU of a node, known by UUID in the whole venue."""

    uuid: GpuUuid
    serial: Identifier


class RegisterNode(Model):
    """A node enrolled or its facts changed (delivery only): owner, grade, hub, GPUs, verification level."""

    type: Literal["register_node"] = "register_node"
    node: NodeId
    account: AccountId
    grade: Grade
    hub: Hub
    level: Level
    gpus: tuple[NodeGpu, ...]


class NodesAlive(Model):
    """Heartbeats: these nodes may stand behind asks until the given log time (delivery only)."""

    type: Literal["nodes_alive"] = "nodes_alive"
    nodes: tuple[NodeId, ...]
    until_ms: Milliseconds


class NodeDown(Model):
    """A node lost its fitness to sell (lost GPU, quarantine): its asks are pulled at once (delivery only)."""

    type: Literal["node_down"] = "node_down"
    node: NodeId
    reason: Identifier


class Nomination(Model):
    """The GPUs that serve one position."""

    position_id: Annotated[int, Field(ge=1, le=COUNTER_MAX)]
    gpus: tuple[GpuUuid, ...]


class NominateGpus(Model):
    """Which GPUs of a node serve which positions of a locked contract (delivery only); a UUID serves one buyer in a
    period.
    """

    type: Literal["nominate_gpus"] = "nominate_gpus"
    contract: Contract
    node: NodeId
    nominations: tuple[Nomination, ...]


class IndexFixed(Model):
    """The index of a contract, fixed at its gate (market_data only); the first wins."""

    type: Literal["index_fixed"] = "index_fixed"
    contract: Contract
    index_micros: Price
    level: Annotated[int, Field(ge=1, le=5)]
    method: Identifier
    inputs_digest: Digest


class SettlePosition(Model):
    """Metered delivery of one position in GPU-seconds (delivery only). Revision 1 settles; a higher one corrects by
    the difference.
    """

    type: Literal["settle_position"] = "settle_position"
    position_id: Annotated[int, Field(ge=1, le=COUNTER_MAX)]
    revision: Annotated[int, Field(ge=1, le=1_000)]
    excused_gpu_s: GpuSeconds
    delivered_gpu_s: GpuSeconds
    used_gpu_s: GpuSeconds
    noticed: bool
    recalled_gpus: Annotated[int, Field(ge=0, le=1_000_000)]
    meter_digest: Digest


class SettleDisputed(SettlePosition):
    """`settle_position` where two meters differ: the lower figures are paid, and of the buyer's money the difference
    alone stays held until a later revision (delivery only; since ruleset 3).

    The higher figures are `delivered_gpu_s + disputed_gpu_s` and `used_gpu_s + disputed_used_gpu_s`; damages are those
    of the higher ones, since only these are not in dispute.
    """

    type: Literal["settle_disputed"] = "settle_disputed"
    disputed_gpu_s: GpuSeconds
    disputed_used_gpu_s: GpuSeconds


class OpenDispute(Model):
    """A settled position is disputed: it does not become final before this ends (delivery only; since ruleset 3)."""

    type: Literal["open_dispute"] = "open_dispute"
    position_id: Annotated[int, Field(ge=1, le=COUNTER_MAX)]
    opened_by: Literal["buyer", "operator", "venue"]
    reason: Identifier


class CloseDispute(Model):
    """A dispute is over; what came of it was a revision, if anything (delivery only; since ruleset 3)."""

    type: Literal["close_dispute"] = "close_dispute"
    position_id: Annotated[int, Field(ge=1, le=COUNTER_MAX)]
    reason: Identifier


class EndBlock(Model):
    """After a long outage the buyer ends what is left of his block: periods whose gate is open cost him nothing
    (delivery only; since ruleset 3).
    """

    type: Literal["end_block"] = "end_block"
    block_id: OrderId
    account: AccountId
    reason: Identifier


class VoidContract(Model):
    """By the venue's fault nothing counts of what was traded in a contract whose gate has closed: escrow, vouchers,
    fees and bonds go back (admin and delivery only).
    """

    type: Literal["void_contract"] = "void_contract"
    contract: Contract
    reason: Identifier


class LockHardware(Model):
    """GPUs are offered for sale: they leave their node's count in every period (listings only). Refused where
    positions need them.
    """

    type: Literal["lock_hardware"] = "lock_hardware"
    listing_id: Identifier
    account: AccountId
    gpus: tuple[GpuUuid, ...]


class UnlockHardware(Model):
    """A listing ended without a sale: its GPUs may be rented out again (listings only)."""

    type: Literal["unlock_hardware"] = "unlock_hardware"
    listing_id: Identifier


class OpenEscrow(Model):
    """The buyer's money for a listing is held (listings only)."""

    type: Literal["open_escrow"] = "open_escrow"
    escrow_id: Identifier
    listing_id: Identifier
    buyer: AccountId
    seller: AccountId
    asset: Asset
    amount_micros: PositiveAmount
    fee_micros: Amount


class ReleaseEscrow(Model):
    """The buyer accepted: the seller is paid less the fee, the GPUs are sold (listings only)."""

    type: Literal["release_escrow"] = "release_escrow"
    escrow_id: Identifier


class RefundEscrow(Model):
    """The sale fell through: the buyer has the whole amount back, the GPUs stay the seller's, listed. Listings only."""

    type: Literal["refund_escrow"] = "refund_escrow"
    escrow_id: Identifier


VenueCommand = Annotated[
    Epoch
    | ServiceKey
    | SetRuleset
    | DefineProduct
    | SetProductState
    | SetAccountLimits
    | CancelAccountOrders
    | Credit
    | Debit
    | Deallocate
    | Allocate
    | RegisterNode
    | NodesAlive
    | NodeDown
    | NominateGpus
    | IndexFixed
    | SettlePosition
    | SettleDisputed
    | OpenDispute
    | CloseDispute
    | EndBlock
    | VoidContract
    | LockHardware
    | UnlockHardware
    | OpenEscrow
    | ReleaseEscrow
    | RefundEscrow
    | DefineProgramme
    | FundProgramme
    | DefundProgramme
    | IssueVoucher
    | SetAffiliation,
    Field(discriminator="type"),
]

# Who may send what; the engine refuses everything else as `not_permitted`.
PERMISSIONS: dict[str, frozenset[str]] = {
    "admin": frozenset(
        {
            "service_key",
            "set_ruleset",
            "define_product",
            "set_product_state",
            "set_account_limits",
            "cancel_account_orders",
            "void_contract",
            "define_programme",
            "set_affiliation",
        }
    ),
    "matching": frozenset({"epoch"}),
    "ledger": frozenset(
        {"credit", "debit", "deallocate", "allocate", "set_product_state"}
        | {"fund_programme", "defund_programme", "issue_voucher"}
    ),
    "delivery": frozenset(
        {"register_node", "nodes_alive", "node_down", "nominate_gpus", "settle_position", "void_contract"}
        | {"settle_disputed", "open_dispute", "close_dispute", "end_block"}
    ),
    "listings": frozenset({"lock_hardware", "unlock_hardware", "open_escrow", "release_escrow", "refund_escrow"}),
    "market_data": frozenset({"index_fixed"}),
    "gateway": frozenset(),
}


class Privileged(Model):
    """One signed batch of a service; `number` is dense per source: not above the last is `duplicate`, a gap is
    refused.
    """

    type: Literal["privileged"] = "privileged"
    source: Source
    number: Annotated[int, Field(ge=1, le=COUNTER_MAX)]
    commands: Annotated[tuple[VenueCommand, ...], Field(min_length=1, max_length=10_000)]
    signature: Signature
