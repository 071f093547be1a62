"""How events change orders: taken, refused, reduced, canceled, expired, filled; a capacity order adds up its asks."""

from functools import lru_cache

from schemas import events as ev
from schemas.base import Model
from schemas.ids import contract_start_s, product_of
from schemas.orders import PostCapacity, Resell
from services.gateway.projections.history import History
from services.gateway.projections.records import (
    BLOCKS,
    OPEN,
    Order,
    RejectedOrder,
    Replacement,
    binds,
    digest_of,
    note_first_terms,
    terms_of,
)

PLACING = frozenset({"place_order", "place_block", "post_capacity", "resell", "replace_order"})
start_of = lru_cache(maxsize=65_536)(contract_start_s)


def on_order_accepted(history: History, event: ev.OrderAccepted) -> None:
    product = product_of(event.contract)
    terms = history.products.get(product)
    start_s = start_of(event.contract)
    order = Order(
        **_identity(event),
        parent_id=event.parent_id,
        kind=event.kind,
        contract=event.contract,
        product=product,
        start_s=start_s,
        end_s=start_s + terms.period_s if terms else None,
        periods=1,
        side=event.side,
        qty=event.qty,
        min_qty=event.min_qty,
        price_micros=event.price_micros,
        floor_curve_micros=None,
        max_cost_micros=event.max_cost_micros,
        tif=event.tif,
        post_only=event.post_only,
        node=event.node,
        expires_ms=event.expires_ms,
        display_qty=event.display_qty,
        stp=event.stp,
        remaining_qty=event.qty,
        first_remaining=event.qty,
    )
    history.add_order(order)
    if parent := history.orders.get(event.parent_id):
        parent.asks_open += 1
        parent.remaining_qty += event.qty
        parent.status, parent.reason, parent.closed_offset = _standing(parent), None, None
        history.changed(parent, event)


def on_block_accepted(history: History, event: ev.BlockAccepted) -> None:
    terms = history.products.get(event.product)
    flexible = event.latest_s is not None
    order = Order(
        **_identity(event),
        parent_id=None,
        kind="flex" if flexible else "block",
        contract=None,
        product=event.product,
        start_s=event.start_s,
        end_s=event.start_s + event.periods * terms.period_s if terms and not flexible else None,
        periods=event.periods,
        side="buy",
        qty=event.qty,
        min_qty=event.min_qty,
        price_micros=event.limit_price_micros,
        floor_curve_micros=None,
        max_cost_micros=event.max_cost_micros,
        tif=event.tif,
        post_only=False,
        node=None,
        expires_ms=None,
        display_qty=None,
        stp=event.stp,
        remaining_qty=event.qty,
        first_remaining=event.qty,
        latest_s=event.latest_s,
        begins_s=event.latest_s if event.latest_s == event.start_s else None,
    )
    history.add_order(order)


def on_flex_narrowed(history: History, event: ev.FlexNarrowed) -> None:
    order = history.orders[event.order_id]
    note_first_terms(order, event.in_offset)
    terms = history.products.get(event.product)
    if event.start_s == event.latest_s:
        order.begins_s = event.start_s
        order.end_s = event.start_s + order.periods * terms.period_s if terms else None
    history.changed(order, event)


def on_capacity_accepted(history: History, event: ev.CapacityAccepted) -> None:
    terms = history.products.get(event.product)
    curve = event.floor_curve_micros
    order = Order(
        **_identity(event),
        parent_id=None,
        kind="capacity",
        contract=None,
        product=event.product,
        start_s=event.from_s,
        end_s=event.to_s,
        periods=-(-(event.to_s - event.from_s) // terms.period_s) if terms else None,
        side="sell",
        qty=event.gpus,
        min_qty=None,
        price_micros=event.floor_price_micros,
        floor_curve_micros=list(curve) if curve else None,
        max_cost_micros=None,
        tif="GTG",
        post_only=False,
        node=event.node,
        expires_ms=event.expires_ms,
        display_qty=None,
        stp=None,
        remaining_qty=0,
        first_remaining=0,
        asked_digest=_asked(PostCapacity, event),
    )
    history.add_order(order)


def on_capacity_repriced(history: History, event: ev.CapacityRepriced) -> None:
    order, curve = history.orders[event.order_id], event.floor_curve_micros
    note_first_terms(order, event.in_offset)
    order.price_micros, order.floor_curve_micros = event.floor_price_micros, list(curve) if curve else None
    history.changed(order, event)


def on_resale_accepted(history: History, event: ev.ResaleAccepted) -> None:
    order = Order(
        **_identity(event),
        parent_id=None,
        kind="resell",
        contract=None,
        product=event.product,
        start_s=event.from_s,
        end_s=event.to_s,
        periods=None,
        side="sell",
        qty=event.qty,
        min_qty=None,
        price_micros=event.price_micros,
        floor_curve_micros=None,
        max_cost_micros=None,
        tif="GTG",
        post_only=False,
        node=None,
        expires_ms=None,
        display_qty=None,
        stp=None,
        remaining_qty=0,
        first_remaining=0,
        asked_digest=_asked(Resell, event),
    )
    history.add_order(order)


def on_order_rejected(history: History, event: ev.OrderRejected) -> None:
    if event.command not in PLACING or not event.client_order_id or event.code == "client_order_id_conflict":
        return
    rejected = RejectedOrder(
        seq=event.seq,
        in_offset=event.in_offset,
        account=event.account,
        client_order_id=event.client_order_id,
        command=event.command,
        code=event.code,
        ts_ms=event.ts_ms,
        **_why(event.why_unfilled),
    )
    history.refusals[event.account, event.client_order_id] = rejected
    history.changes.refusals[event.account, event.client_order_id] = rejected
    if binds(rejected):
        history.used_names.add(event.account, event.client_order_id)
    history.touched.append(rejected)


def on_order_canceled(history: History, event: ev.OrderCanceled) -> None:
    _end_order(history, event, "canceled", event.reason, event.why_unfilled)


def on_order_expired(history: History, event: ev.OrderExpired) -> None:
    _end_order(history, event, "expired", event.reason, None)


def on_order_reduced(history: History, event: ev.OrderReduced) -> None:
    order = history.orders[event.order_id]
    _note_asked(order, event)
    order.remaining_qty, order.reason = event.qty_left, event.reason
    order.qty, order.reduced_qty = order.qty - event.qty_off, order.reduced_qty + event.qty_off
    if event.in_offset == order.in_offset:
        order.first_reason = event.reason
    if parent := history.orders.get(order.parent_id):
        note_first_terms(parent, event.in_offset)
        parent.remaining_qty -= event.qty_off
        parent.reduced_qty += event.qty_off
        history.changed(parent, event)
    history.changed(order, event)


def on_order_replaced(history: History, event: ev.OrderReplaced) -> None:
    order = history.orders[event.order_id]
    _note_asked(order, event)
    if parent := history.orders.get(order.parent_id):
        parent.remaining_qty += event.qty_left - order.remaining_qty
        history.changed(parent, event)
    order.qty, order.remaining_qty, order.price_micros = event.qty, event.qty_left, event.price_micros
    order.tif, order.expires_ms = event.tif, event.expires_ms
    history.changed(order, event)
    if event.replace_id is not None:
        head = (event.account, event.replace_id, event.seq, event.in_offset, event.order_id)
        history.add_replacement(Replacement(*head, event.priority_kept))


def _note_asked(order: Order, event: ev.Event) -> None:
    """Keep what an order was taken with, before its terms change: a repeat of it asks for that."""
    note_first_terms(order, event.in_offset)
    if order.parent_id is None:
        order.asked_digest = order.asked_digest or digest_of(terms_of(order))


def _end_order(history: History, event: ev.OrderCanceled | ev.OrderExpired, status: str, reason: str, why) -> None:
    order = history.orders[event.order_id]
    if parent := history.orders.get(order.parent_id):
        parent.remaining_qty -= event.qty_left
        _ask_ended(history, parent, event, status, reason)
    order.status, order.reason, order.closed_offset = status, reason, event.in_offset
    order.remaining_qty = 0
    for name, value in _why(why).items():
        setattr(order, name, value)
    history.changed(order, event)


def _ask_ended(history: History, parent: Order, event: ev.Event, status: str, reason: str | None) -> None:
    parent.asks_open -= 1
    if parent.asks_open == 0 and parent.status in OPEN:
        parent.status, parent.reason, parent.closed_offset = status, reason, event.in_offset
    history.changed(parent, event)


def value_of(event: ev.Trade) -> int:
    """What the buyer paid, or will pay for full delivery; a reseller has his price at once."""
    return event.resale.paid_micros if event.resale else event.escrow_micros


def fill_order(history: History, order_id: int, event: ev.Trade, left: int) -> None:
    order = history.orders[order_id]
    order.remaining_qty = left
    order.filled_qty = order.qty - left if order.kind in BLOCKS else order.filled_qty + event.qty
    order.filled_micros += value_of(event)
    order.status = "filled" if left == 0 else "partially_filled"
    if left == 0:
        order.closed_offset = event.in_offset
    if parent := history.orders.get(order.parent_id):
        parent.remaining_qty -= event.qty
        parent.filled_qty += event.qty
        parent.filled_micros += value_of(event)
        parent.status = _standing(parent)
        history.changed(parent, event)
        if left == 0:
            _ask_ended(history, parent, event, "filled", None)
    history.changed(order, event)


def _asked(command: type[Model], event: ev.Event) -> str:
    """The digest of the terms that a command had, from the event that repeats them."""
    names = command.model_fields.keys() - {"type", "command_id"}
    return digest_of({"type": command.model_fields["type"].default} | {name: getattr(event, name) for name in names})


def _identity(event: ev.OrderAccepted | ev.BlockAccepted | ev.CapacityAccepted) -> dict:
    return {
        "order_id": event.order_id,
        "seq": event.seq,
        "in_offset": event.in_offset,
        "account": event.account,
        "client_order_id": event.client_order_id,
        "created_ms": event.ts_ms,
        "updated_ms": event.ts_ms,
        "last_seq": event.seq,
        "first_seq": event.seq,
    }


def _standing(order: Order) -> str:
    return "partially_filled" if order.filled_qty else "new"


def _why(why: ev.WhyUnfilled | None) -> dict:
    names = ("why_reason", "why_best_micros", "why_missing")
    values = (why.reason, why.best_price_micros, why.missing_gpus) if why else (None, None, None)
    return dict(zip(names, values, strict=True))


HANDLERS = {
    "order_accepted": on_order_accepted,
    "block_accepted": on_block_accepted,
    "flex_narrowed": on_flex_narrowed,
    "capacity_accepted": on_capacity_accepted,
    "capacity_repriced": on_capacity_repriced,
    "resale_accepted": on_resale_accepted,
    "order_rejected": on_order_rejected,
    "order_canceled": on_order_canceled,
    "order_expired": on_order_expired,
    "order_reduced": on_order_reduced,
    "order_replaced": on_order_replaced,
}
