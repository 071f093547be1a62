"""Folds events into the gateway's records: open orders, positions and balances in memory, changes for the tables."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from schemas import events as ev
from schemas.ids import contract_start_s, product_of
from schemas.venue import DefineProduct
from services.gateway.records import Balance, Fill, Order, Position, Refusal

PLACING = frozenset({"place_order", "place_block", "post_capacity"})
OPEN = frozenset({"new", "partially_filled"})
start_of = lru_cache(maxsize=65_536)(contract_start_s)
Record = Order | Refusal | Fill | Position | Balance


@dataclass
class Changes:
    """Records that changed since the last flush, by their keys; one of each kind and key, as it stands now."""

    orders: dict[int, Order] = field(default_factory=dict)
    refusals: dict[tuple[str, str], Refusal] = field(default_factory=dict)
    fills: dict[int, Fill] = field(default_factory=dict)
    positions: dict[int, Position] = field(default_factory=dict)
    balances: dict[tuple[str, str], Balance] = field(default_factory=dict)
    products: dict[str, DefineProduct] = field(default_factory=dict)

    def __len__(self) -> int:
        kinds = (self.orders, self.refusals, self.fills, self.positions, self.balances, self.products)
        return sum(map(len, kinds))


class History:
    """What the events make of orders, positions and balances. Ended orders and final positions stay until `forget`."""

    def __init__(self):
        self.orders: dict[int, Order] = {}
        self.refusals: dict[tuple[str, str], Refusal] = {}
        self.positions: dict[int, Position] = {}
        self.balances: dict[tuple[str, str], Balance] = {}
        self.products: dict[str, DefineProduct] = {}
        self.by_client: dict[tuple[str, str], int] = {}
        self.seq = 0
        self._positions_of: dict[str, set[int]] = defaultdict(set)
        self._changes = Changes()
        self._touched: list[Record] = []

    def restore(self, records: Iterable[Record], products: Iterable[DefineProduct], seq: int) -> None:
        """Takes what the tables held after event `seq`."""
        for record in records:
            match record:
                case Order():
                    self._keep_order(record)
                case Position():
                    self._keep_position(record)
                case Balance():
                    self.balances[record.account, record.asset] = record
        self.products.update({terms.product: terms for terms in products})
        self.seq = seq

    def apply(self, event: ev.AnyEvent) -> list[Record]:
        """Folds one event; returns the records it made or changed."""
        self._touched = []
        self.seq = event.seq
        if fold := FOLDS.get(event.type):
            fold(self, event)
        for posting in getattr(event, "postings", ()):
            self._post(posting, event.seq)
        return self._touched

    def changes_pending(self) -> int:
        """Counts the records that the tables do not hold as they stand."""
        return len(self._changes)

    def take_changes(self) -> Changes:
        """Hands over what changed, and starts anew."""
        taken, self._changes = self._changes, Changes()
        return taken

    def forget(self, flushed: Changes) -> None:
        """Drops what has ended, is in the tables, and did not change meanwhile."""
        for order_id, order in flushed.orders.items():
            if order_id not in self._changes.orders and order.status not in OPEN:
                self.orders.pop(order_id, None)
                key = (order.account, order.client_order_id)
                if self.by_client.get(key) == order_id:
                    del self.by_client[key]
        for key in flushed.refusals.keys() - self._changes.refusals.keys():
            self.refusals.pop(key, None)
        for position_id, position in flushed.positions.items():
            if position_id not in self._changes.positions and position.state == "SETTLED_FINAL":
                self.positions.pop(position_id, None)
                self._positions_of[position.contract].discard(position_id)

    def order_of_client(self, account: str, client_order_id: str) -> Order | Refusal | None:
        """Returns the account's order in memory under the client's id: the one that was taken before any refusal."""
        order_id = self.by_client.get((account, client_order_id))
        return self.orders[order_id] if order_id else self.refusals.get((account, client_order_id))

    # -- orders --------------------------------------------------------------------------------------------------------

    def on_order_accepted(self, event: ev.OrderAccepted) -> None:
        product = product_of(event.contract)
        terms = self.products.get(product)
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
            min_qty=None,
            price_micros=event.price_micros,
            floor_curve_micros=None,
            max_cost_micros=event.max_cost_micros,
            tif=event.tif,
            post_only=event.post_only,
            node=event.node,
            stp=event.stp,
            remaining_qty=event.qty,
            first_remaining=event.qty,
        )
        self._add_order(order)
        if parent := self.orders.get(event.parent_id):
            parent.asks_open += 1
            parent.remaining_qty += event.qty
            parent.status, parent.reason, parent.closed_offset = _standing(parent), None, None
            self._changed(parent, event)

    def on_block_accepted(self, event: ev.BlockAccepted) -> None:
        terms = self.products.get(event.product)
        order = Order(
            **_identity(event),
            parent_id=None,
            kind="block",
            contract=None,
            product=event.product,
            start_s=event.start_s,
            end_s=event.start_s + event.periods * terms.period_s if terms else None,
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
            stp=event.stp,
            remaining_qty=event.qty,
            first_remaining=event.qty,
        )
        self._add_order(order)

    def on_capacity_accepted(self, event: ev.CapacityAccepted) -> None:
        terms = self.products.get(event.product)
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
            stp=None,
            remaining_qty=0,
            first_remaining=0,
        )
        self._add_order(order)

    def on_order_rejected(self, event: ev.OrderRejected) -> None:
        if event.command not in PLACING or not event.client_order_id or event.code == "client_order_id_conflict":
            return
        refusal = Refusal(
            seq=event.seq,
            in_offset=event.in_offset,
            account=event.account,
            client_order_id=event.client_order_id,
            command=event.command,
            code=event.code,
            ts_ms=event.ts_ms,
            **_why(event.why_unfilled),
        )
        self.refusals[event.account, event.client_order_id] = refusal
        self._changes.refusals[event.account, event.client_order_id] = refusal
        self._touched.append(refusal)

    def on_order_canceled(self, event: ev.OrderCanceled) -> None:
        self._end_order(event, "canceled", event.reason, event.why_unfilled)

    def on_order_expired(self, event: ev.OrderExpired) -> None:
        self._end_order(event, "expired", "gate_closed", None)

    def on_order_reduced(self, event: ev.OrderReduced) -> None:
        order = self.orders[event.order_id]
        order.remaining_qty, order.reason = event.qty_left, event.reason
        if parent := self.orders.get(order.parent_id):
            parent.remaining_qty -= event.qty_off
            self._changed(parent, event)
        self._changed(order, event)

    def _end_order(self, event: ev.OrderCanceled | ev.OrderExpired, status: str, reason: str, why) -> None:
        order = self.orders[event.order_id]
        if parent := self.orders.get(order.parent_id):
            parent.remaining_qty -= event.qty_left
            self._ask_ended(parent, event, status, reason)
        order.status, order.reason, order.closed_offset = status, reason, event.in_offset
        order.remaining_qty = 0
        for name, value in _why(why).items():
            setattr(order, name, value)
        self._changed(order, event)

    def _ask_ended(self, parent: Order, event: ev.Event, status: str, reason: str | None) -> None:
        parent.asks_open -= 1
        if parent.asks_open == 0 and parent.status in OPEN:
            parent.status, parent.reason, parent.closed_offset = status, reason, event.in_offset
        self._changed(parent, event)

    # -- trades and positions ------------------------------------------------------------------------------------------

    def on_trade(self, event: ev.Trade) -> None:
        buyer_order_id, seller_order_id = event.taker_order_id, event.maker_order_id
        if event.taker_side == "sell":
            buyer_order_id, seller_order_id = seller_order_id, buyer_order_id
        self._fill_order(event.taker_order_id, event, event.taker_left)
        self._fill_order(event.maker_order_id, event, event.maker_left)
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
            value_micros=event.escrow_micros,
            buyer_fee_micros=event.buyer_fee_micros,
        )
        self._changes.fills[event.trade_id] = fill
        self._touched.append(fill)
        self._open_position(event, buyer_order_id, seller_order_id)

    def _fill_order(self, order_id: int, event: ev.Trade, left: int) -> None:
        order = self.orders[order_id]
        order.remaining_qty = left
        order.filled_qty = order.qty - left if order.kind == "block" else order.filled_qty + event.qty
        order.filled_micros += event.escrow_micros
        order.status = "filled" if left == 0 else "partially_filled"
        if left == 0:
            order.closed_offset = event.in_offset
        if parent := self.orders.get(order.parent_id):
            parent.remaining_qty -= event.qty
            parent.filled_qty += event.qty
            parent.filled_micros += event.escrow_micros
            parent.status = _standing(parent)
            self._changed(parent, event)
            if left == 0:
                self._ask_ended(parent, event, "filled", None)
        self._changed(order, event)

    def _open_position(self, event: ev.Trade, buyer_order_id: int, seller_order_id: int) -> None:
        terms = self.products.get(product_of(event.contract))
        position = Position(
            position_id=event.position_id,
            seq=event.seq,
            contract=event.contract,
            buyer=event.buyer,
            operator=event.seller,
            buyer_order_id=buyer_order_id,
            operator_order_id=seller_order_id,
            block_id=event.block_id,
            node=event.node,
            qty=event.qty,
            price_micros=event.price_micros,
            escrow_micros=event.escrow_micros,
            bond_micros=event.bond_micros,
            period_s=terms.period_s if terms else None,
            opened_ms=event.ts_ms,
            updated_ms=event.ts_ms,
            last_seq=event.seq,
        )
        self._keep_position(position)
        self._changed(position, event)

    def on_contract_state_changed(self, event: ev.ContractStateChanged) -> None:
        for position_id in sorted(self._positions_of.get(event.contract, ())):
            position = self.positions[position_id]
            if event.state in ("LOCKED", "DELIVERING", "METERED"):
                position.state = event.state
                self._changed(position, event)

    def on_position_settled(self, event: ev.PositionSettled) -> None:
        position = self.positions[event.position_id]
        for name in SETTLED_FIELDS:
            setattr(position, name, getattr(event, name))
        position.state = "SETTLED_PROVISIONAL"
        self._changed(position, event)

    def on_position_finalized(self, event: ev.PositionFinalized) -> None:
        position = self.positions[event.position_id]
        position.state = "SETTLED_FINAL"
        self._changed(position, event)

    def on_product_defined(self, event: ev.ProductDefined) -> None:
        self.products[event.terms.product] = self._changes.products[event.terms.product] = event.terms

    # -- bookkeeping ---------------------------------------------------------------------------------------------------

    def _post(self, posting: ev.Posting, seq: int) -> None:
        key = (posting.account, posting.asset)
        balance = Balance(*key, posting.available, posting.held, seq)
        self.balances[key] = self._changes.balances[key] = balance
        self._touched.append(balance)

    def _add_order(self, order: Order) -> None:
        self._keep_order(order)
        self._changes.orders[order.order_id] = order
        self._touched.append(order)

    def _keep_order(self, order: Order) -> None:
        self.orders[order.order_id] = order
        if order.client_order_id and order.parent_id is None:
            self.by_client[order.account, order.client_order_id] = order.order_id

    def _keep_position(self, position: Position) -> None:
        self.positions[position.position_id] = position
        self._positions_of[position.contract].add(position.position_id)

    def _changed(self, record: Order | Position, event: ev.Event) -> None:
        record.updated_ms, record.last_seq = event.ts_ms, event.seq
        if isinstance(record, Position):
            self._changes.positions[record.position_id] = record
        else:
            if record.in_offset == event.in_offset:
                record.first_remaining, record.first_seq = record.remaining_qty, event.seq
                record.first_filled_qty, record.first_filled_micros = record.filled_qty, record.filled_micros
            self._changes.orders[record.order_id] = record
        if not any(record is touched for touched in self._touched):
            self._touched.append(record)


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

FOLDS = {
    "order_accepted": History.on_order_accepted,
    "block_accepted": History.on_block_accepted,
    "capacity_accepted": History.on_capacity_accepted,
    "order_rejected": History.on_order_rejected,
    "order_canceled": History.on_order_canceled,
    "order_expired": History.on_order_expired,
    "order_reduced": History.on_order_reduced,
    "trade": History.on_trade,
    "contract_state_changed": History.on_contract_state_changed,
    "position_settled": History.on_position_settled,
    "position_finalized": History.on_position_finalized,
    "product_defined": History.on_product_defined,
}
