"""From records to what a caller reads: decimal strings, RFC 3339 times, and an order as it stood after its command."""

import json
import time
from collections.abc import Iterable
from typing import Any

import orjson

from schemas.accounts import ApiKeySet
from schemas.base import Model
from schemas.events import OrderRejected
from schemas.ids import AccountId
from schemas.money import format_micros
from schemas.replies import (
    BalanceView,
    FillView,
    KeyView,
    OrderView,
    PositionView,
    RefusedView,
    WhyUnfilledView,
    rfc3339,
)
from schemas.vouchers import ASSET_PREFIX, is_cash
from services.gateway.projections.history import History
from services.gateway.projections.records import Balance, Fill, Order, Position, RejectedOrder, copy_of
from services.kit.rows import show_rows

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000


class Views:
    """Makes views of records; the products' terms say their currency, the programmes' what a voucher is, the marks
    which nodes are simulated.
    """

    def __init__(self, history: History):
        self._products, self._programmes, self._node_marks = history.products, history.programmes, history.node_marks

    def order(self, order: Order) -> OrderView:
        """Show an order as it stands."""
        return OrderView(**self._order_fields(order))

    def order_reply(self, order: Order, fills: Iterable[Fill], account: AccountId, moments: dict[str, str]) -> bytes:
        """Return the JSON of an OrderReply, without checking again what came from the log."""
        reply = {"order": self._order_fields(order), "fills": fills_of(self, fills, account), "timing": moments}
        return orjson.dumps(reply, default=Model.model_dump)

    def _order_fields(self, order: Order) -> dict[str, Any]:
        terms = self._products.get(order.product)
        flexible = order.kind == "flex"
        return dict(
            order_id=order.order_id,
            parent_id=order.parent_id,
            client_order_id=order.client_order_id,
            status=order.status,
            reason=order.reason,
            kind=order.kind,
            contract=order.contract,
            product=order.product,
            start=_at_second(order.begins_s if flexible else order.start_s),
            end=_at_second(order.end_s),
            earliest=_at_second(order.start_s) if flexible else None,
            latest=_at_second(order.latest_s),
            periods=order.periods,
            side=order.side,
            qty=order.qty,
            min_qty=order.min_qty,
            price=_decimal(order.price_micros),
            floor_curve=tuple(map(format_micros, order.floor_curve_micros)) if order.floor_curve_micros else None,
            max_cost=_decimal(order.max_cost_micros),
            currency=terms.currency if terms else None,
            tif=order.tif,
            post_only=order.post_only,
            node=order.node,
            simulated=self._node_marks.get(order.node),
            expires=_moment(order.expires_ms),
            display_qty=order.display_qty,
            use_vouchers=order.use_vouchers,
            vouchers=format_micros(order.voucher_micros),
            stp=order.stp,
            filled_qty=order.filled_qty,
            reduced_qty=order.reduced_qty,
            remaining_qty=order.remaining_qty,
            filled_value=format_micros(order.filled_micros),
            why_unfilled=why_unfilled(order),
            seq=order.last_seq,
            **_times("created", order.created_ms),
            **_times("updated", order.updated_ms),
        )

    def fill(self, fill: Fill, account: AccountId) -> FillView:
        """Show a trade as `account` sees it; the buyer, where both sides are the same account."""
        side = "buy" if fill.buyer == account else "sell"
        return FillView(
            trade_id=fill.trade_id,
            position_id=fill.position_id,
            seq=fill.seq,
            order_id=fill.buyer_order_id if side == "buy" else fill.seller_order_id,
            block_id=fill.block_id if side == "buy" else None,
            contract=fill.contract,
            side=side,
            role=_role(fill, side),
            price=format_micros(fill.price_micros),
            qty=fill.qty,
            value=format_micros(fill.value_micros),
            fee=format_micros(fill.buyer_fee_micros if side == "buy" else 0),
            node=fill.node,
            simulated=self._node_marks.get(fill.node),
            **_times("ts", fill.ts_ms),
        )

    def position(self, position: Position, account: AccountId) -> PositionView:
        """Show a position as its buyer or its operator sees it."""
        buys = position.buyer == account
        terms = self._products.get(position.contract.rpartition("-")[0])
        return PositionView(
            position_id=position.position_id,
            role="buyer" if buys else "operator",
            order_id=position.buyer_order_id if buys else position.operator_order_id,
            block_id=position.block_id if buys else None,
            contract=position.contract,
            node=position.node,
            simulated=self._node_marks.get(position.node),
            state=position.state,
            qty=position.qty,
            price=format_micros(position.price_micros),
            currency=terms.currency if terms else None,
            escrow=format_micros(position.escrow_micros),
            bond=format_micros(position.bond_micros),
            contracted_gpu_s=position.qty * position.period_s if position.period_s else None,
            delivered_gpu_s=position.delivered_gpu_s,
            used_gpu_s=position.used_gpu_s,
            excused_gpu_s=position.excused_gpu_s,
            index=_decimal(position.index_micros),
            revision=position.revision,
            gross=_decimal(position.gross_micros),
            refund=_decimal(position.refund_micros),
            damages=_decimal(position.damages_micros),
            fee=_decimal(position.fee_micros),
            vouchers=format_micros(position.voucher_micros if buys else 0),
            vouchers_used=format_micros(position.voucher_used_micros if buys else 0),
            net=_decimal(position.buyer_micros if buys else position.operator_micros),
            payout_held=format_micros(0 if buys else position.payout_held_micros),
            payout_held_until=None if buys else _moment(position.payout_held_until_ms),
            meter_digest=position.meter_digest,
            seq=position.last_seq,
            **_times("opened", position.opened_ms),
            **_times("updated", position.updated_ms),
        )

    def balance(self, record: Balance) -> BalanceView:
        """Show a balance; vouchers with their programme."""
        terms = self._programmes.get(record.asset.removeprefix(ASSET_PREFIX)) if not is_cash(record.asset) else None
        return BalanceView(
            asset=record.asset,
            available=format_micros(record.available_micros),
            held=format_micros(record.held_micros),
            total=format_micros(record.available_micros + record.held_micros),
            programme=terms.programme if terms else None,
            issuer=terms.issuer if terms else None,
            currency=terms.currency if terms else None,
            expires=_moment(terms.expires_ms) if terms else None,
            seq=record.seq,
        )

    def key(self, key: ApiKeySet) -> KeyView:
        """Show an API key."""
        limit_micros = key.order_limit_micros
        return KeyView(
            key_id=key.key_id,
            account=key.account,
            public_key=key.public_key,
            scopes=key.scopes,
            expires=_moment(key.expires_ms),
            ip_networks=key.ip_networks,
            order_limit=format_micros(limit_micros) if limit_micros is not None else None,
            revoked=key.revoked,
            node=key.node,
            simulated=self._node_marks.get(key.node),
        )


def show_rejected(rejected: RejectedOrder) -> RefusedView:
    """Show a refused order; its terms are not in the log."""
    return RefusedView(
        client_order_id=rejected.client_order_id,
        reason=rejected.code,
        why_unfilled=why_unfilled(rejected),
        seq=rejected.seq,
        **_times("created", rejected.ts_ms),
    )


def as_first_decided(order: Order) -> Order:
    """Return the order as its own command left it, whatever came after."""
    first = copy_of(order)
    for name, value in json.loads(order.first_terms or "{}").items():
        setattr(first, name, value)
    first.remaining_qty, first.filled_qty = order.first_remaining, order.first_filled_qty
    first.filled_micros, first.updated_ms, first.last_seq = order.first_filled_micros, order.created_ms, order.first_seq
    if order.closed_offset != order.in_offset:
        first.status = "partially_filled" if order.first_filled_qty else "new"
        first.reason = order.first_reason
        first.why_reason = first.why_best_micros = first.why_missing = None
    return first


def why_rejected(event: OrderRejected) -> WhyUnfilledView | None:
    """Say what was missing where an order was refused for it."""
    why = event.why_unfilled
    if why is None:
        return None
    best = _decimal(why.best_price_micros)
    return WhyUnfilledView(reason=why.reason, best_price=best, missing_gpus=why.missing_gpus)


def why_unfilled(record: Order | RejectedOrder) -> WhyUnfilledView | None:
    """Say why (the rest of) an order did not trade."""
    if record.why_reason is None:
        return None
    return WhyUnfilledView(
        reason=record.why_reason,
        best_price=_decimal(record.why_best_micros),
        missing_gpus=record.why_missing,
    )


def timing(gateway_in_ns: int, engine_ms: int) -> dict[str, str]:
    """Return the three moments of an acknowledgement; the last is now."""
    moments = {"gateway_in": gateway_in_ns, "engine_ts": engine_ms * NS_PER_MS, "gateway_out": time.time_ns()}
    texts = {}
    for name, ts_ns in moments.items():
        texts[name], texts[f"{name}_ns"] = rfc3339(ts_ns), str(ts_ns)
    return texts


def fills_of(views: Views, fills: Iterable[Fill], account: AccountId) -> tuple[FillView, ...]:
    """Show those of the trades that the account has part in."""
    own = (fill for fill in fills if account in (fill.buyer, fill.seller))
    return show_rows(own, lambda fill: views.fill(fill, account))


def _role(fill: Fill, side: str) -> str:
    """In an auction nobody takes."""
    if fill.taker_side is None:
        return "auction"
    return "taker" if fill.taker_side == side else "maker"


def _decimal(micros: int | None) -> str | None:
    return None if micros is None else format_micros(micros)


def _at_second(unix_s: int | None) -> str | None:
    return None if unix_s is None else rfc3339(unix_s * NS_PER_S)


def _moment(ms: int | None) -> str | None:
    return None if ms is None else rfc3339(ms * NS_PER_MS)


def _times(name: str, ts_ms: int) -> dict[str, str]:
    return {name: rfc3339(ts_ms * NS_PER_MS), f"{name}_ns": str(ts_ms * NS_PER_MS)}
