"""Events of auctions, and of the limits and protection that accounts trade under."""

from typing import Annotated, Literal

from pydantic import Field

from schemas.events.header import Count, Event
from schemas.ids import AccountId, ClientOrderId, Contract, Identifier, Product
from schemas.measures import Milliseconds, OrderId
from schemas.money import Amount, Price
from schemas.orders import Qty, Side, UnixSeconds

BlockRejection = Literal["price", "paradoxical", "max_cost", "no_node_free_in_all_hours", "rounds_exhausted"]


class AuctionIndicated(Event):
    """What an auction would come to now; told at ticks, when it differs from what was told last. No price: no trade.

    `surplus_qty` GPUs at that price would go without, on `surplus_side`.
    """

    type: Literal["auction_indicated"] = "auction_indicated"
    contract: Contract
    price_micros: Price | None
    qty: Count
    surplus_qty: Count
    surplus_side: Side | None
    reference_micros: Price | None


class AuctionUncrossed(Event):
    """A contract's auction ended at one price for all; its trades follow."""

    type: Literal["auction_uncrossed"] = "auction_uncrossed"
    contract: Contract
    price_micros: Price
    qty: Qty
    surplus_qty: Count
    surplus_side: Side | None
    reference_micros: Price | None


class AuctionBlockRejected(Event):
    """A block got less than it asked for in an auction, and why; the rest of it waits on.

    Both sums are per GPU over all its periods: what it would pay at most, and what it costs at the auction's prices
    (null where a period has none). `paradoxical`: the final prices would suit it, but taking it would move them too
    far.
    """

    type: Literal["auction_block_rejected"] = "auction_block_rejected"
    order_id: OrderId
    account: AccountId
    client_order_id: ClientOrderId
    product: Product
    start_s: UnixSeconds
    periods: Count
    qty_rejected: Qty
    limit_sum_micros: Amount
    cost_sum_micros: Amount | None
    reason: BlockRejection


class AccountLimitsSet(Event):
    """What an account may do at most, whole."""

    type: Literal["account_limits_set"] = "account_limits_set"
    account: AccountId
    max_open_orders: Count | None
    max_position_gpus: Count | None
    throttle_window_s: Count
    throttle_free_orders: Count
    throttle_orders_per_trade: Count


class ProtectionSet(Event):
    """An account's protection in a product, whole; a pulled maker may quote again at once."""

    type: Literal["protection_set"] = "protection_set"
    command_id: Identifier
    account: AccountId
    product: Product
    qty: Qty | None
    window_ms: Milliseconds | None


class ProtectionTriggered(Event):
    """So many of an account's resting GPUs traded so fast that the rest of its orders in the product were pulled."""

    type: Literal["protection_triggered"] = "protection_triggered"
    account: AccountId
    product: Product
    traded_qty: Annotated[int, Field(ge=1)]
    window_ms: Milliseconds
    canceled: Count
