"""Events of orders, blocks and capacity: taken, refused, traded, reduced, ended."""

from typing import Annotated, Literal

from pydantic import Field

from schemas.base import Model
from schemas.events.codes import CancelReason, ExpiryReason, RejectCode
from schemas.events.header import Count, Event, Posting, WhyUnfilled
from schemas.ids import AccountId, ClientOrderId, Contract, Identifier, NodeId, Product
from schemas.measures import OrderId
from schemas.money import Amount, PositiveAmount, Price
from schemas.orders import (
    BlockTimeInForce,
    Qty,
    SelfTradePrevention,
    Side,
    TimeInForce,
    UnixMilliseconds,
    UnixSeconds,
)


class OrderAccepted(Event):
    """An order was taken and its money or bond held. Views add `qty` to the book at its price; trades and cancels
    take it off again.

    Asks of a capacity order have kind `capacity` and name it in `parent_id`. An ask without a node resells positions.
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
    expires_ms: UnixMilliseconds | None
    display_qty: Qty | None
    min_qty: Qty | None
    stp: SelfTradePrevention
    postings: tuple[Posting, ...]


class BlockAccepted(Event):
    """A block bid was taken and its money held. It stands in no hour book. A flex has `latest_s`."""

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
    tif: BlockTimeInForce
    latest_s: UnixSeconds | None
    use_vouchers: bool = False
    stp: SelfTradePrevention
    postings: tuple[Posting, ...]


class FlexNarrowed(Event):
    """A flex may begin from `start_s` to `latest_s` only: a gate closed on an earlier start, or it executes now and
    both are its start. What it held beyond that is returned.
    """

    type: Literal["flex_narrowed"] = "flex_narrowed"
    order_id: OrderId
    account: AccountId
    client_order_id: ClientOrderId | None
    product: Product
    start_s: UnixSeconds
    latest_s: UnixSeconds
    postings: tuple[Posting, ...]


class BlockTrialsBounded(Event):
    """Trying waiting blocks against new capacity reached the product's bound on block–node trials; those that still
    wait go on at the next tick.
    """

    type: Literal["block_trials_bounded"] = "block_trials_bounded"
    product: Product
    trials: Count
    bound: Count
    waiting: Count


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
    ttl_s: Count | None
    split: bool
    expires_ms: UnixMilliseconds | None


class CapacityRepriced(Event):
    """A capacity order has other prices; an `order_replaced` follows for each of the `changed` asks."""

    type: Literal["capacity_repriced"] = "capacity_repriced"
    order_id: OrderId
    command_id: Identifier
    account: AccountId
    client_order_id: ClientOrderId | None
    floor_price_micros: Price | None
    floor_curve_micros: tuple[Price, ...] | None
    changed: Count


class ResaleAccepted(Event):
    """Positions are offered again; the asks follow, one `order_accepted` for each period, of no node and with this
    order as their parent.
    """

    type: Literal["resale_accepted"] = "resale_accepted"
    order_id: OrderId
    command_id: Identifier
    account: AccountId
    client_order_id: ClientOrderId
    product: Product
    position_id: Annotated[int, Field(ge=1)] | None
    block_id: OrderId | None
    from_s: UnixSeconds
    to_s: UnixSeconds
    qty: Qty
    price_micros: Price


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
    """An order keeps its id and priority but stands for fewer GPUs; what they held is returned. An ask's node has fewer
    to rent out, or self-trade prevention took the same quantity off both sides. Of an iceberg the hidden part goes
    first.
    """

    type: Literal["order_reduced"] = "order_reduced"
    order_id: OrderId
    account: AccountId
    client_order_id: ClientOrderId | None
    kind: Literal["limit", "market", "capacity"]
    contract: Contract
    side: Side
    price_micros: Price | None
    qty_off: Qty
    qty_left: Qty
    reason: CancelReason
    postings: tuple[Posting, ...]


class OrderReplaced(Event):
    """A resting order has other terms under the same ids; its hold was adjusted with it. `qty` is the whole quantity,
    `qty_left` what is open of it.

    Without its priority it goes through the book like a new order before it rests again: trades or its end follow.
    """

    type: Literal["order_replaced"] = "order_replaced"
    order_id: OrderId
    command_id: Identifier
    account: AccountId
    client_order_id: ClientOrderId | None
    replace_id: ClientOrderId | None
    contract: Contract
    side: Side
    qty: Qty
    qty_left: Qty
    price_micros: Price
    tif: TimeInForce
    expires_ms: UnixMilliseconds | None
    old_qty_left: Qty
    old_price_micros: Price
    priority_kept: bool
    postings: tuple[Posting, ...]


class OrderDisplayed(Event):
    """The book shows `qty_shown` GPUs of an iceberg from now on, at the back of its price level: when it first rests,
    and whenever what it showed has traded.
    """

    type: Literal["order_displayed"] = "order_displayed"
    order_id: OrderId
    account: AccountId
    client_order_id: ClientOrderId | None
    contract: Contract
    side: Side
    price_micros: Price
    qty_shown: Qty
    qty_left: Qty


class OrderExpired(Event):
    """What was left of an order or a block ended with its gate or at its own expiry; its hold is returned."""

    type: Literal["order_expired"] = "order_expired"
    order_id: OrderId
    account: AccountId
    client_order_id: ClientOrderId | None
    kind: Literal["limit", "capacity", "block"]
    contract: Contract | None
    side: Side
    price_micros: Price | None
    qty_left: Qty
    reason: ExpiryReason
    postings: tuple[Posting, ...]


class CancelDone(Event):
    """A cancel or mass cancel was carried out; `canceled` counts the orders (their own events came before this one)."""

    type: Literal["cancel_done"] = "cancel_done"
    command_id: Identifier
    account: AccountId
    canceled: Count


class AccountOrdersCanceled(Event):
    """The venue cancelled orders of an account; `canceled` counts them (their own events came before this one)."""

    type: Literal["account_orders_canceled"] = "account_orders_canceled"
    account: AccountId
    reason: Identifier
    canceled: Count


class BatchDone(Event):
    """All members of a batch were decided; their own events came before this one. `refused` of them broke a rule."""

    type: Literal["batch_done"] = "batch_done"
    command_id: Identifier
    account: AccountId
    members: Count
    refused: Count


class CancelTimerSet(Event):
    """A session's dead-man timer runs until `due_ms` of log time; null: it is disarmed."""

    type: Literal["cancel_timer_set"] = "cancel_timer_set"
    command_id: Identifier
    account: AccountId
    session: Identifier
    due_ms: UnixMilliseconds | None


class CancelTimerFired(Event):
    """A session was silent for too long; `canceled` counts the account's orders that ended before this event."""

    type: Literal["cancel_timer_fired"] = "cancel_timer_fired"
    account: AccountId
    session: Identifier
    canceled: Count


class Resale(Model):
    """What a trade tells where the seller resold his own position: which one, its operator, the price P at which it
    will be settled, and what the buyer paid the seller at once.
    """

    from_position_id: Annotated[int, Field(ge=1)]
    operator: AccountId
    settlement_price_micros: Price
    paid_micros: Amount


class Trade(Event):
    """A fill at the maker's price: one new position. `escrow_micros` is the buyer's, `bond_micros` the operator's,
    both held. The seller is the operator, but for a resale.

    In an auction nobody takes: `taker_side` is null, the maker is the ask, the taker the bid or the block, the price
    the auction's, and the fee the maker's.
    """

    type: Literal["trade"] = "trade"
    trade_id: Annotated[int, Field(ge=1)]
    position_id: Annotated[int, Field(ge=1)]
    contract: Contract
    price_micros: Price
    qty: Qty
    taker_side: Side | None
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
    resale: Resale | None = None
    postings: tuple[Posting, ...]
