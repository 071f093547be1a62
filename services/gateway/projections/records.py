"""What the gateway keeps of the event log: rows of orders, refusals, fills, positions and balances."""

import json
from dataclasses import dataclass
from hashlib import sha256
from operator import attrgetter

OPEN = frozenset({"new", "partially_filled"})
OVER = frozenset({"SETTLED_FINAL", "RESOLD", "ENDED"})
BLOCKS = frozenset({"block", "flex"})
UNBOUND = frozenset({"unknown_product", "unlisted_contract", "gate_closed"})
UNBOUND_REPLACE = UNBOUND | {"unknown_order", "order_closed", "not_the_owner", "not_replaceable"}
CHANGING = ("qty", "reduced_qty", "price_micros", "floor_curve_micros", "tif", "expires_ms", "begins_s", "end_s")


@dataclass(slots=True)
class Order:
    """One order as it stands. `in_offset` is its own command's; `first_remaining` is what that command left of it.

    `qty` is what it stands for: what has traded and what remains, while it is open; `reduced_qty` was taken off it.
    A flex has the latest of its starts, and the one that is left once there is no other.
    `asked_digest` is that of its first terms, where they are not kept or it was replaced; `first_terms` is JSON of what
    its own command left of those that changed since.
    """

    order_id: int
    seq: int
    in_offset: int
    parent_id: int | None
    account: str
    client_order_id: str | None
    kind: str
    contract: str | None
    product: str
    start_s: int | None
    end_s: int | None
    periods: int | None
    side: str
    qty: int
    min_qty: int | None
    price_micros: int | None
    floor_curve_micros: list[int] | None
    max_cost_micros: int | None
    tif: str
    post_only: bool
    node: str | None
    expires_ms: int | None
    display_qty: int | None
    stp: str | None
    created_ms: int
    updated_ms: int
    last_seq: int
    remaining_qty: int
    first_remaining: int
    first_seq: int
    status: str = "new"
    reason: str | None = None
    filled_qty: int = 0
    filled_micros: int = 0
    first_filled_qty: int = 0
    first_filled_micros: int = 0
    why_reason: str | None = None
    why_best_micros: int | None = None
    why_missing: int | None = None
    closed_offset: int | None = None
    asks_open: int = 0
    latest_s: int | None = None
    begins_s: int | None = None
    asked_digest: str | None = None
    use_vouchers: bool = False
    voucher_micros: int = 0
    first_terms: str | None = None
    reduced_qty: int = 0
    first_reason: str | None = None


@dataclass(slots=True)
class Replacement:
    """A replace with a name of its own: its order as the command left it, for whoever repeats it."""

    account: str
    replace_id: str
    seq: int
    in_offset: int
    order_id: int
    priority_kept: bool
    left_as: Order | None = None


@dataclass(slots=True)
class RejectedOrder:
    """An order that the engine refused; its terms are not in the log."""

    seq: int
    in_offset: int
    account: str
    client_order_id: str
    command: str
    code: str
    why_reason: str | None
    why_best_micros: int | None
    why_missing: int | None
    ts_ms: int


@dataclass(slots=True)
class Fill:
    """One trade, with both sides of it."""

    trade_id: int
    seq: int
    in_offset: int
    ts_ms: int
    position_id: int
    contract: str
    price_micros: int
    qty: int
    taker_side: str | None
    buyer: str
    seller: str
    buyer_order_id: int
    seller_order_id: int
    block_id: int | None
    node: str
    value_micros: int
    buyer_fee_micros: int


@dataclass(slots=True)
class Position:
    """One position from its trade to its final settlement."""

    position_id: int
    seq: int
    contract: str
    buyer: str
    operator: str
    buyer_order_id: int
    operator_order_id: int
    block_id: int | None
    node: str
    qty: int
    price_micros: int
    escrow_micros: int
    bond_micros: int
    period_s: int | None
    opened_ms: int
    updated_ms: int
    last_seq: int
    state: str = "OPEN"
    revision: int = 0
    delivered_gpu_s: int | None = None
    used_gpu_s: int | None = None
    excused_gpu_s: int | None = None
    index_micros: int | None = None
    gross_micros: int | None = None
    refund_micros: int | None = None
    damages_micros: int | None = None
    fee_micros: int | None = None
    buyer_micros: int | None = None
    operator_micros: int | None = None
    meter_digest: str | None = None
    voucher_micros: int = 0
    voucher_used_micros: int = 0
    payout_held_micros: int = 0
    payout_held_until_ms: int | None = None


@dataclass(slots=True)
class Balance:
    """What an account has of one asset after event `seq`."""

    account: str
    asset: str
    available_micros: int
    held_micros: int
    seq: int


@dataclass(slots=True)
class Rule:
    """What an account is held to, as last set: by the venue (no product), or by its own protection in a product."""

    account: str
    product: str
    terms: dict[str, int | None]
    seq: int


_every_field = attrgetter(*Order.__slots__)


def copy_of(order: Order) -> Order:
    """Return a copy; `copy.copy` costs four times as much, and every acknowledgement needs one."""
    return Order(*_every_field(order))


def note_first_terms(order: Order, in_offset: int) -> None:
    """Keep the terms that the order's own command left, before the first later command changes them."""
    if order.first_terms is None and in_offset != order.in_offset:
        order.first_terms = json.dumps({name: getattr(order, name) for name in CHANGING})


def digest_of(terms: dict) -> str:
    """Return a digest of an order's terms."""
    return sha256(json.dumps(terms, sort_keys=True).encode()).hexdigest()


def binds(rejected: RejectedOrder) -> bool:
    """Say whether the engine bound the name to the rejection; there was a contract with a gate to do it until."""
    return rejected.code not in (UNBOUND_REPLACE if rejected.command == "replace_order" else UNBOUND)


def asks_the_same(terms: dict, order: Order) -> bool:
    """Say whether a command's terms, without its `command_id`, are those that the order was taken with."""
    return digest_of(terms) == order.asked_digest if order.asked_digest else terms == terms_of(order)


def terms_of(order: Order) -> dict:
    """Return the terms of an order with one command of its own, in that command's fields but `command_id`."""
    head = {"account": order.account, "client_order_id": order.client_order_id}
    head |= {"qty": order.qty, "max_cost_micros": order.max_cost_micros, "tif": order.tif, "stp": order.stp}
    head["use_vouchers"] = order.use_vouchers
    if order.kind in BLOCKS:
        return head | {
            "type": "place_block",
            "product": order.product,
            "start_s": order.start_s,
            "periods": order.periods,
            "min_qty": order.min_qty,
            "limit_price_micros": order.price_micros,
            "latest_s": order.latest_s,
        }
    return head | {
        "type": "place_order",
        "contract": order.contract,
        "side": order.side,
        "kind": order.kind,
        "price_micros": order.price_micros,
        "post_only": order.post_only,
        "node": order.node,
        "expires_ms": order.expires_ms,
        "display_qty": order.display_qty,
        "min_qty": order.min_qty,
    }
