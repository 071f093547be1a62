"""Replies of the gateway's REST API and its private feed: every economic term echoed, money as decimal strings, times
as RFC 3339 and as nanoseconds.
"""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import Field

from schemas.base import Model, added
from schemas.events.header import WhyReason
from schemas.ids import AccountId, Asset, ClientOrderId, Contract, Digest, Identifier, NodeId, Product, PublicKey
from schemas.measures import OrderId
from schemas.orders import SelfTradePrevention, Side, TimeInForce

Item = TypeVar("Item")
Count = Annotated[int, Field(ge=0)]
Decimal = Annotated[str, Field(pattern=r"^-?[0-9]{1,13}\.[0-9]{2,6}$", examples=["12.84"])]
Moment = Annotated[str, Field(examples=["2026-11-22T12:50:00.000000Z"])]
Simulated = Annotated[
    bool | None,
    Field(description="Says whether the node's GPUs are simulated; null: no node is named, or delivery told nothing."),
]
Nanoseconds = Annotated[str, Field(pattern=r"^[0-9]{1,19}$", examples=["1795351800000000000"])]

OrderStatus = Literal["new", "partially_filled", "filled", "canceled", "expired"]
OrderKind = Literal["limit", "market", "block", "flex", "capacity", "resell"]
PositionState = Literal[
    "OPEN", "LOCKED", "DELIVERING", "METERED", "SETTLED_PROVISIONAL", "DISPUTED", "SETTLED_FINAL", "RESOLD", "ENDED"
]


def rfc3339(ts_ns: int) -> str:
    """Writes a time in UTC to the microsecond: '2026-11-22T12:50:00.000000Z'."""
    unix_s, part_ns = divmod(ts_ns, 1_000_000_000)
    return f"{_whole_second(unix_s)}.{part_ns // 1_000:06d}Z"


@lru_cache(maxsize=4_096)
def _whole_second(unix_s: int) -> str:
    return f"{datetime.fromtimestamp(unix_s, UTC):%Y-%m-%dT%H:%M:%S}"


class WhyUnfilledView(Model):
    """Why (the rest of) an order did not trade."""

    reason: WhyReason
    best_price: Decimal | None
    missing_gpus: Count


class FillView(Model):
    """One trade as one side of it sees it. `value` is what the GPUs cost for the period, `fee` what this side paid on
    top.
    """

    trade_id: Count
    position_id: Count
    seq: Count
    order_id: OrderId
    block_id: OrderId | None
    contract: Contract
    side: Side
    role: Literal["maker", "taker", "auction"]
    price: Decimal
    qty: Count
    value: Decimal
    fee: Decimal
    node: NodeId
    simulated: Simulated
    ts: Moment
    ts_ns: Nanoseconds


class OrderView(Model):
    """An order with every economic term and how far it came. `qty` counts GPUs; those of a capacity order stand in
    every period, so its `filled_qty` counts GPU-periods. `remaining_qty` is what still stands; 0 when the order ended.
    While it is open, `qty` is `filled_qty` and `remaining_qty`; `reduced_qty` was taken off it, by the venue or by
    self-trade prevention, and is in none of them.
    A flex begins between `earliest` and `latest`; its `start` is null until only one is left.
    """

    order_id: OrderId
    parent_id: OrderId | None
    client_order_id: ClientOrderId | None
    status: OrderStatus
    reason: str | None
    kind: OrderKind
    contract: Contract | None
    product: Product
    start: Moment | None
    end: Moment | None
    earliest: Moment | None
    latest: Moment | None
    periods: Count | None
    side: Side
    qty: Count
    min_qty: Count | None
    price: Decimal | None
    floor_curve: tuple[Decimal, ...] | None
    max_cost: Decimal | None
    currency: Asset | None
    tif: TimeInForce
    post_only: bool
    node: NodeId | None
    simulated: Simulated
    expires: Moment | None
    display_qty: Count | None
    use_vouchers: bool
    vouchers: Decimal
    stp: SelfTradePrevention | None
    filled_qty: Count
    reduced_qty: Count
    remaining_qty: Count
    filled_value: Decimal
    why_unfilled: WhyUnfilledView | None
    seq: Count
    created: Moment
    created_ns: Nanoseconds
    updated: Moment
    updated_ns: Nanoseconds


class RefusedView(Model):
    """An order that the engine refused, with the code of its problem as `reason`."""

    client_order_id: ClientOrderId
    status: Literal["rejected"] = "rejected"
    reason: str
    why_unfilled: WhyUnfilledView | None
    seq: Count
    created: Moment
    created_ns: Nanoseconds


class Timing(Model):
    """When the request came in, when the engine decided (log time), when the answer left."""

    gateway_in: Moment
    gateway_in_ns: Nanoseconds
    engine_ts: Moment
    engine_ts_ns: Nanoseconds
    gateway_out: Moment
    gateway_out_ns: Nanoseconds


class OrderReply(Model):
    """201 for an order that the engine took (200 with `Idempotent-Replayed: true` for a repeat): the order as it stood
    after its own command.
    """

    order: OrderView
    fills: tuple[FillView, ...]
    timing: Timing


class UnknownReply(Model):
    """202: no answer of the engine in time, the order may be live. Ask by `client_order_id`, or repeat the request."""

    order_state: Literal["unknown"] = "unknown"
    client_order_id: ClientOrderId | None
    command_id: Identifier
    detail: str
    gateway_in: Moment
    gateway_in_ns: Nanoseconds


class ReplaceReply(Model):
    """200: the order has the new terms. Without its priority it went through the book again: `fills` are what it traded
    then.
    """

    order: OrderView
    priority_kept: bool
    fills: tuple[FillView, ...]
    timing: Timing


class RepriceReply(Model):
    """200: the capacity order has other prices; `changed` asks went through their books again, and `fills` are what
    they traded then.
    """

    order: OrderView
    changed: Count
    fills: tuple[FillView, ...]
    timing: Timing


class MemberProblem(Model):
    """Why a member of a batch was refused: the code of its problem, as a request of its own would have had it."""

    code: str
    detail: str
    why_unfilled: WhyUnfilledView | None


class MemberResult(Model):
    """What became of one member of a batch: `status` as a request of its own would have had it. The order stands as the
    batch left it; `orders` are those that a cancel ended.
    """

    op: Literal["place", "cancel", "replace"]
    status: int
    replayed: bool = False
    order: OrderView | None = None
    fills: tuple[FillView, ...] = ()
    priority_kept: bool | None = None
    orders: tuple[OrderView, ...] = ()
    problem: MemberProblem | None = None


class BatchReply(Model):
    """200: the engine decided every member that the edge did not refuse, in turn; `timing` is null where it refused
    all.
    """

    results: tuple[MemberResult, ...]
    timing: Timing | None


class CancelTimerReply(Model):
    """200: the session's timer runs until `due` of the log's time; null: it is disarmed."""

    session: Identifier
    due: Moment | None
    due_ns: Nanoseconds | None
    timing: Timing


class ProtectionReply(Model):
    """200: the protection as it stands; without a quantity there is none."""

    product: Product
    qty: int | None
    window_ms: int | None
    timing: Timing


class ProtectionView(Model):
    """A protection of the account's own: once `qty` GPUs of its resting orders in the product have traded within
    `window_ms`, the rest of them are pulled.
    """

    product: Product
    qty: int
    window_ms: int
    seq: Count


class OwnLevel(Model):
    """How many GPUs an account offers at one price in one contract."""

    contract: Contract
    price: Decimal
    qty: Count


class AskLevelsView(Model):
    """The caller's own part of the asks in a product's books, by contract, the best price first."""

    product: Product
    asks: tuple[OwnLevel, ...]
    seq: Count


class AccountLimitsView(Model):
    """What the venue lets the account do at most; null or zero: no such limit. In every window of `throttle_window_s`
    `throttle_free_orders` are taken, and `throttle_orders_per_trade` more for a trade.
    """

    max_open_orders: Count | None = None
    max_position_gpus: Count | None = None
    throttle_window_s: Count = 0
    throttle_free_orders: Count = 0
    throttle_orders_per_trade: Count = 0
    seq: Count


class CancelReply(Model):
    """200: the engine carried the cancel out; `orders` are those that ended, as they stand."""

    canceled: Count
    orders: tuple[OrderView, ...]
    timing: Timing


class PositionView(Model):
    """A position as its buyer or its operator sees it; the amounts of settlement are null until it is settled.
    `net` is what the caller paid (negative) or received in all. `price` is what settlement goes by: of a position that
    was bought from its first buyer, what that one agreed. A position resold whole is `RESOLD`, with no GPUs left; one
    that its buyer ended with the rest of his block, after an outage, is `ENDED`. `payout_held` is what of an operator's
    `net` he cannot spend before `payout_held_until`, or the end of a dispute: his node was of level T0 at the gate.
    """

    position_id: Count
    role: Literal["buyer", "operator"]
    order_id: OrderId
    block_id: OrderId | None
    contract: Contract
    node: NodeId
    simulated: Simulated
    state: PositionState
    qty: Count
    price: Decimal
    currency: Asset | None
    escrow: Decimal
    bond: Decimal
    contracted_gpu_s: Count | None
    delivered_gpu_s: Count | None
    used_gpu_s: Count | None
    excused_gpu_s: Count | None
    index: Decimal | None
    revision: Count
    gross: Decimal | None
    refund: Decimal | None
    damages: Decimal | None
    fee: Decimal | None
    vouchers: Decimal
    vouchers_used: Decimal
    net: Decimal | None
    payout_held: Decimal
    payout_held_until: Moment | None
    meter_digest: Digest | None
    seq: Count
    opened: Moment
    opened_ns: Nanoseconds
    updated: Moment
    updated_ns: Nanoseconds


class BalanceView(Model):
    """What an account has of one asset, after event `seq`. Vouchers name their programme and when it ends; what of them
    its issuer holds is used up.
    """

    asset: Asset
    available: Decimal
    held: Decimal
    total: Decimal
    programme: str | None
    issuer: AccountId | None
    currency: Asset | None
    expires: Moment | None
    seq: Count


class Page(Model, Generic[Item]):
    """Items newest first; `cursor` asks for the next page and is null on the last. All events up to `seq` are in.

    `left_out`: so many rows of this page cannot be shown; the venue's log says which, and why.
    """

    items: tuple[Item, ...]
    cursor: str | None
    seq: Count
    left_out: Count = added(0)


class AccountView(Model):
    """An account of the venue; `key_id` is the key with which it opened itself."""

    account: AccountId
    created: Moment
    key_id: Identifier | None = None


class TokenView(Model):
    """An enrolment token as its account reads it: how many nodes it admits, and the keys that nodes got by it."""

    token_id: Identifier
    account: AccountId
    expires: Moment
    nodes: Count
    node_keys: tuple[Identifier, ...]
    revoked: Moment | None


class KeyView(Model):
    """An API key as the venue knows it."""

    key_id: Identifier
    account: AccountId
    public_key: PublicKey
    scopes: tuple[str, ...]
    expires: Moment | None
    ip_networks: tuple[str, ...]
    order_limit: Decimal | None
    revoked: bool
    node: NodeId | None
    simulated: Simulated
