"""How events change fills, positions and products: traded, locked, delivering, metered, settled, final."""

from schemas import events as ev
from schemas.ids import product_of
from services.gateway.projections.history import History
from services.gateway.projections.orders import fill_order, value_of
from services.gateway.projections.records import Fill, Position

SETTLED_FIELDS = (
    "revision",
    "delivered_gpu_s",
    "used_gpu_s",
    "excused_gpu_s",
    "index_micros",
    "gross_micros",
    "refund_micros",
    "damages_micros",
    "fee_micros",
    "buyer_micros",
    "operator_micros",
    "meter_digest",
)


def on_trade(history: History, event: ev.Trade) -> None:
    buyer_order_id, seller_order_id = event.taker_order_id, event.maker_order_id
    if event.taker_side == "sell":
        buyer_order_id, seller_order_id = seller_order_id, buyer_order_id
    fill_order(history, event.taker_order_id, event, event.taker_left)
    fill_order(history, event.maker_order_id, event, event.maker_left)
    fill = Fill(
        trade_id=event.trade_id,
        seq=event.seq,
        in_offset=event.in_offset,
        ts_ms=event.ts_ms,
        position_id=event.position_id,
        contract=event.contract,
        price_micros=event.price_micros,
        qty=event.qty,
        taker_side=event.taker_side,
        buyer=event.buyer,
        seller=event.seller,
        buyer_order_id=buyer_order_id,
        seller_order_id=seller_order_id,
        block_id=event.block_id,
        node=event.node,
        value_micros=value_of(event),
        buyer_fee_micros=event.buyer_fee_micros,
    )
    history.changes.fills[event.trade_id] = fill
    history.touched.append(fill)
    _open_position(history, event, buyer_order_id, seller_order_id)


def _open_position(history: History, event: ev.Trade, buyer_order_id: int, seller_order_id: int) -> None:
    terms = history.products.get(product_of(event.contract))
    source = history.positions[event.resale.from_position_id] if event.resale else None
    if source is not None:
        _split_off(history, source, event)
    position = Position(
        position_id=event.position_id,
        seq=event.seq,
        contract=event.contract,
        buyer=event.buyer,
        operator=event.resale.operator if event.resale else event.seller,
        buyer_order_id=buyer_order_id,
        operator_order_id=source.operator_order_id if source else seller_order_id,
        block_id=event.block_id,
        node=event.node,
        qty=event.qty,
        price_micros=event.resale.settlement_price_micros if event.resale else event.price_micros,
        escrow_micros=event.escrow_micros,
        bond_micros=event.bond_micros,
        period_s=terms.period_s if terms else None,
        opened_ms=event.ts_ms,
        updated_ms=event.ts_ms,
        last_seq=event.seq,
    )
    history.keep_position(position)
    history.changed(position, event)


def _split_off(history: History, source: Position, event: ev.Trade) -> None:
    """The seller's position is the smaller by what was resold, or over."""
    source.qty -= event.qty
    source.escrow_micros -= event.escrow_micros
    source.bond_micros -= event.bond_micros
    if source.qty == 0:
        source.state = "RESOLD"
        history.positions_of[source.contract].discard(source.position_id)
    history.changed(source, event)


def on_contract_state_changed(history: History, event: ev.ContractStateChanged) -> None:
    for position_id in sorted(history.positions_of.get(event.contract, ())):
        position = history.positions[position_id]
        if event.state in ("LOCKED", "DELIVERING", "METERED"):
            position.state = event.state
            history.changed(position, event)


def on_position_settled(history: History, event: ev.PositionSettled) -> None:
    position = history.positions[event.position_id]
    for name in SETTLED_FIELDS:
        setattr(position, name, getattr(event, name))
    if position.state != "DISPUTED":
        position.state = "SETTLED_PROVISIONAL"
    history.changed(position, event)


def on_payout_held(history: History, event: ev.PayoutHeld) -> None:
    """What the operator earned stays held: the node was of level T0 at the gate."""
    position = history.positions[event.position_id]
    position.payout_held_micros, position.payout_held_until_ms = event.held_micros, event.until_ms
    history.changed(position, event)


def on_dispute_opened(history: History, event: ev.DisputeOpened) -> None:
    position = history.positions[event.position_id]
    position.state = "DISPUTED"
    history.changed(position, event)


def on_dispute_closed(history: History, event: ev.DisputeClosed) -> None:
    position = history.positions[event.position_id]
    position.state = "SETTLED_PROVISIONAL"
    history.changed(position, event)


def on_position_ended(history: History, event: ev.PositionEnded) -> None:
    """Its buyer ended what was left of his block: the money is back, nothing will be delivered."""
    position = history.positions[event.position_id]
    position.state, position.escrow_micros, position.bond_micros = "ENDED", 0, 0
    history.positions_of[position.contract].discard(position.position_id)
    history.changed(position, event)


def on_position_finalized(history: History, event: ev.PositionFinalized) -> None:
    position = history.positions[event.position_id]
    position.state, position.payout_held_micros, position.payout_held_until_ms = "SETTLED_FINAL", 0, None
    history.changed(position, event)


def on_product_defined(history: History, event: ev.ProductDefined) -> None:
    history.products[event.terms.product] = history.changes.products[event.terms.product] = event.terms


HANDLERS = {
    "trade": on_trade,
    "contract_state_changed": on_contract_state_changed,
    "position_settled": on_position_settled,
    "payout_held": on_payout_held,
    "dispute_opened": on_dispute_opened,
    "dispute_closed": on_dispute_closed,
    "position_ended": on_position_ended,
    "position_finalized": on_position_finalized,
    "product_defined": on_product_defined,
}
