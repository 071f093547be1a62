"""Commands of traders and operators: what they ask of the engine, every economic term spelled out."""

from typing import Annotated, Literal

from pydantic import Field

from schemas.base import Model
from schemas.ids import AccountId, ClientOrderId, Contract, Identifier, NodeId, Product
from schemas.measures import OrderId
from schemas.money import COUNTER_MAX, PositiveAmount, Price

Side = Literal["buy", "sell"]
TimeInForce = Literal["GTG", "GTD", "IOC", "FOK"]
BlockTimeInForce = Literal["GTG", "IOC", "FOK"]
SelfTradePrevention = Literal["cancel_newest", "cancel_oldest", "cancel_both", "decrement_and_cancel"]
Qty = Annotated[int, Field(ge=1, le=1_000_000)]
Periods = Annotated[int, Field(ge=1, le=1_000)]
UnixSeconds = Annotated[int, Field(ge=0, le=4_102_444_800)]
UnixMilliseconds = Annotated[int, Field(ge=1, le=4_102_444_800_000)]
FloorCurve = Annotated[tuple[Price, ...], Field(min_length=24, max_length=24)]


class PlaceOrder(Model):
    """A bid or an ask for one contract. A sell names the node that backs it, or none, and then sells the account's own
    positions in the contract, oldest first. A market order is bounded by `max_cost_micros`: what a buy may cost, what
    a sell may lose against what was paid.

    `GTD` ends at `expires_ms` of log time. Of an iceberg the book shows `display_qty` at a time. At least `min_qty`
    must trade when the order arrives. `stp` says what happens where it would trade with the account's own order.
    """

    type: Literal["place_order"] = "place_order"
    command_id: Identifier
    account: AccountId
    client_order_id: ClientOrderId
    contract: Contract
    side: Side
    kind: Literal["limit", "market"]
    qty: Qty
    price_micros: Price | None
    max_cost_micros: PositiveAmount | None
    tif: TimeInForce
    post_only: bool
    node: NodeId | None
    expires_ms: UnixMilliseconds | None = None
    display_qty: Qty | None = None
    min_qty: Qty | None = None
    use_vouchers: bool = False
    stp: SelfTradePrevention


class PlaceBlock(Model):
    """A bid for the same GPUs on one node each over consecutive periods; all or none in time, partial in GPUs down to
    `min_qty`. With `latest_s` it is a flex: it begins at `start_s` or later, wherever that is cheapest.
    """

    type: Literal["place_block"] = "place_block"
    command_id: Identifier
    account: AccountId
    client_order_id: ClientOrderId
    product: Product
    start_s: UnixSeconds
    periods: Periods
    qty: Qty
    min_qty: Qty
    limit_price_micros: Price
    max_cost_micros: PositiveAmount | None
    tif: BlockTimeInForce
    latest_s: UnixSeconds | None = None
    use_vouchers: bool = False
    stp: SelfTradePrevention


class PostCapacity(Model):
    """An operator's ask in the book of every period of [from_s, to_s), backed by a node. A floor curve has one price
    per UTC hour of the day. All asks end `ttl_s` after the order was taken. With `split` a whole X8 node also stands in
    the single-GPU book of its grade.
    """

    type: Literal["post_capacity"] = "post_capacity"
    command_id: Identifier
    account: AccountId
    client_order_id: ClientOrderId
    product: Product
    node: NodeId
    gpus: Qty
    from_s: UnixSeconds
    to_s: UnixSeconds
    floor_price_micros: Price | None
    floor_curve_micros: FloorCurve | None
    ttl_s: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    split: bool = False


class RepriceCapacity(Model):
    """Gives every ask of a capacity order its price anew, named by our id or by the client's. An ask whose price
    changes holds anew and goes behind the others at its price; the rest keep their place.
    """

    type: Literal["reprice_capacity"] = "reprice_capacity"
    command_id: Identifier
    account: AccountId
    order_id: OrderId | None
    client_order_id: ClientOrderId | None
    floor_price_micros: Price | None
    floor_curve_micros: FloorCurve | None


class WithdrawCapacity(Model):
    """Cancels those asks of a capacity order, or of a resale, that deliver in [from_s, to_s)."""

    type: Literal["withdraw_capacity"] = "withdraw_capacity"
    command_id: Identifier
    account: AccountId
    order_id: OrderId | None
    client_order_id: ClientOrderId | None
    from_s: UnixSeconds
    to_s: UnixSeconds


class Resell(Model):
    """Offers the account's own positions again: one ask of `qty` GPUs for every whole period of [from_s, to_s) whose
    gate is open, backed by its positions there, oldest first; only by those of a block, or by one position, where that
    is named.
    """

    type: Literal["resell"] = "resell"
    command_id: Identifier
    account: AccountId
    client_order_id: ClientOrderId
    product: Product
    position_id: Annotated[int, Field(ge=1, le=COUNTER_MAX)] | None
    block_id: OrderId | None
    from_s: UnixSeconds
    to_s: UnixSeconds
    qty: Qty
    price_micros: Price


class CancelOrder(Model):
    """Cancels one order, block or capacity order of the account, named by our id or by the client's."""

    type: Literal["cancel_order"] = "cancel_order"
    command_id: Identifier
    account: AccountId
    order_id: OrderId | None
    client_order_id: ClientOrderId | None


class ReplaceOrder(Model):
    """Changes a resting order of one contract, named by our id or by the client's; null leaves a term as it is.

    `qty` is the whole quantity, with what has traded already. The order keeps its ids, and its place in the book where
    it only shrinks. `replace_id` makes the command itself idempotent, and names the order from then on as well.
    """

    type: Literal["replace_order"] = "replace_order"
    command_id: Identifier
    account: AccountId
    order_id: OrderId | None
    client_order_id: ClientOrderId | None
    replace_id: ClientOrderId | None
    qty: Qty | None
    price_micros: Price | None
    expires_ms: UnixMilliseconds | None


class MassCancel(Model):
    """Cancels every order of the account that fits all the filters given (null: any). Delivery starts are those of
    [from_s, to_s); a block fits if it touches them.
    """

    type: Literal["mass_cancel"] = "mass_cancel"
    command_id: Identifier
    account: AccountId
    product: Product | None
    contract: Contract | None
    side: Side | None
    from_s: UnixSeconds | None = None
    to_s: UnixSeconds | None = None


class CancelAllAfter(Model):
    """Cancels everything of the account unless it is sent again within `timeout_ms` of log time; 0 disarms.

    Each session of the account has a timer of its own.
    """

    type: Literal["cancel_all_after"] = "cancel_all_after"
    command_id: Identifier
    account: AccountId
    session: Identifier
    timeout_ms: Annotated[int, Field(ge=0, le=86_400_000)]


class SetProtection(Model):
    """A market maker's protection in one product: once `qty` GPUs of his resting orders have traded within `window_ms`
    of log time, all that rest of them there are pulled. Both null: no protection.
    """

    type: Literal["set_protection"] = "set_protection"
    command_id: Identifier
    account: AccountId
    product: Product
    qty: Qty | None
    window_ms: Annotated[int, Field(ge=1, le=86_400_000)] | None


BatchMember = Annotated[PlaceOrder | PlaceBlock | CancelOrder | ReplaceOrder, Field(discriminator="type")]


class PlaceBatch(Model):
    """Several commands of one account in one record, applied in turn, each with results of its own."""

    type: Literal["place_batch"] = "place_batch"
    command_id: Identifier
    account: AccountId
    members: Annotated[tuple[BatchMember, ...], Field(min_length=1, max_length=100)]
