"""The market as a pure view of the event log: one command's events in, what changed for the public out.

What an event says of an order counts. Where the view had something else, the order takes the event's figures, its book
is made anew from the orders in it, and the command's changes say so: no event ends the view.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

from schemas.events import (
    AnyEvent,
    AuctionIndicated,
    AuctionUncrossed,
    ContractsListed,
    ContractStateChanged,
    IndexSet,
    OrderAccepted,
    OrderCanceled,
    OrderDisplayed,
    OrderExpired,
    OrderReduced,
    OrderReplaced,
    ProductDefined,
    ProductStateChanged,
    Trade,
)
from schemas.ids import contract_name, contract_start_s, product_of
from schemas.orders import Side
from services.market_data.books import BookDisagrees
from services.market_data.candles import Candle, Candles
from services.market_data.contracts import ENDED, ContractView, ProductView
from services.market_data.index import GateInputs, IndexValue, LastIndex, fix_index

KEEP_ENDED_PERIODS = 4
KEEP_ENDED_S = 3_600

StatusEvent = ProductDefined | ProductStateChanged | ContractsListed | ContractStateChanged
Depth = tuple[list[tuple[int, int]], list[tuple[int, int]]]


@dataclass(slots=True)
class RestingOrder:
    """An order at a price: GPUs left of it, and how many of them the public sees. Of an iceberg that is a part."""

    order_id: int
    contract: ContractView
    side: Side
    price_micros: int
    left: int
    shown: int
    iceberg: bool


@dataclass(frozen=True, slots=True)
class BookChange:
    """The levels of one book that a command changed; `prev_seq` is where the book stood before."""

    contract: ContractView
    prev_seq: int
    bids: list[tuple[int, int]]
    asks: list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Doubt:
    """An event that did not fit what the view had; its contract's book is not to be trusted until it is empty."""

    seq: int
    kind: str
    contract: str | None
    detail: str


@dataclass(slots=True)
class Changes:
    """What one command changed, at the sequence of its last event."""

    seq: int
    ts_ms: int
    books: list[BookChange] = field(default_factory=list)
    trades: list[Trade] = field(default_factory=list)
    candles: dict[tuple[str, str, int], Candle] = field(default_factory=dict)
    quotes: dict[str, ContractView] = field(default_factory=dict)
    fixings: list[tuple[ContractView, IndexValue]] = field(default_factory=list)
    indexes: list[IndexSet] = field(default_factory=list)
    auctions: list[AuctionIndicated | AuctionUncrossed] = field(default_factory=list)
    statuses: list[StatusEvent] = field(default_factory=list)
    listed: list[ContractView] = field(default_factory=list)
    doubts: list[Doubt] = field(default_factory=list)


class Market:
    """Products, contracts, books, candles. `apply` takes whole commands, in the order of the log."""

    def __init__(self) -> None:
        self.products: dict[str, ProductView] = {}
        self.contracts: dict[str, ContractView] = {}
        self.candles = Candles()
        self.seq = 0
        self.log_ms = 0
        self.doubted: dict[str, int] = {}
        self._orders: dict[int, RestingOrder] = {}
        self._handlers: dict[str, Callable[..., None]] = {kind: getattr(self, name) for kind, name in HANDLERS.items()}

    def state(self) -> dict[str, Any]:
        """Return everything that the market holds, between two commands."""
        return {name: value for name, value in vars(self).items() if name != "_handlers"}

    def restore(self, state: dict[str, Any]) -> None:
        """Hold from now on what `state` gave. Raises KeyError for what is none."""
        if state.keys() != self.state().keys():
            raise KeyError(*(state.keys() ^ self.state().keys()))
        vars(self).update(state)

    def apply(self, events: Sequence[AnyEvent]) -> Changes:
        """Apply all the events of one command."""
        last = events[-1]
        changes = Changes(last.seq, last.ts_ms)
        self.seq, self.log_ms = last.seq, last.ts_ms
        for candle in self.candles.advance(last.ts_ms):
            _touch(changes, candle)
        depth = self._depth_at_gates(events)
        for event in events:
            handler = self._handlers.get(event.type)
            if handler is not None:
                self._attempt(handler, event, changes)
        for event in changes.statuses:
            if isinstance(event, ContractStateChanged) and event.state == "LOCKED" and event.contract in depth:
                self._attempt(partial(self._fix_index, depth=depth[event.contract]), event, changes)
        for name in {doubt.contract for doubt in changes.doubts} & self.contracts.keys():
            self._make_anew(self.contracts[name], changes)
        self._close_books(changes)
        return changes

    def period_of(self, sym: str) -> int | None:
        """Return the period in seconds of a contract or a product; None for an unknown symbol."""
        if sym in self.contracts:
            return self.contracts[sym].period_s
        return self.products[sym].terms.period_s if sym in self.products else None

    # -- one method for each event that the public may see

    def _on_product_defined(self, event: ProductDefined, changes: Changes) -> None:
        known = self.products.get(event.terms.product)
        if known is None:
            self.products[event.terms.product] = ProductView(event.terms)
        else:
            known.terms = event.terms
        changes.statuses.append(event)

    def _on_product_state(self, event: ProductStateChanged, changes: Changes) -> None:
        product = self.products[event.product]
        product.state, product.opens_ms = event.state, event.opens_ms
        if event.state != "AUCTION":
            for indicated in product.indicated():
                self._indicate(indicated.contract, None, changes)
        changes.statuses.append(event)

    def _on_listed(self, event: ContractsListed, changes: Changes) -> None:
        product = self.products[event.product]
        self._forget_ended(product)
        for start_s in range(event.first_start_s, event.last_start_s + 1, event.period_s):
            name = event.product + name_ending(start_s, event.period_s)
            view = ContractView(name, event.product, start_s, event.period_s, product.terms.gate_lead_s)
            self.contracts[name] = product.contracts[start_s] = view
            changes.listed.append(view)
        changes.statuses.append(event)

    def _on_contract_state(self, event: ContractStateChanged, changes: Changes) -> None:
        changes.statuses.append(event)
        if event.state != "OPEN":
            self.doubted.pop(event.contract, None)
        if self._is_forgotten(event.contract):
            return  # the venue may void a contract until it is final
        contract = self.contracts[event.contract]
        contract.state, contract.positions = event.state, event.positions
        changes.quotes[event.contract] = contract

    def _on_index(self, event: IndexSet, changes: Changes) -> None:
        contract, product = self.contracts.get(event.contract), self.products[product_of(event.contract)]
        product.indexes.append(event)
        if contract is not None:
            contract.index = event
            changes.quotes[event.contract] = contract
            if contract.start_s > product.last_index_start_s:
                product.last_index_start_s = contract.start_s
                product.last_index = LastIndex(event.contract, event.index_micros)
        changes.indexes.append(event)

    def _on_indicated(self, event: AuctionIndicated, changes: Changes) -> None:
        self._indicate(event.contract, event if event.price_micros is not None else None, changes)
        changes.auctions.append(event)

    def _on_uncrossed(self, event: AuctionUncrossed, changes: Changes) -> None:
        self._indicate(event.contract, None, changes)
        self.products[product_of(event.contract)].auctions.append(event)
        changes.auctions.append(event)

    def _indicate(self, name: str, event: AuctionIndicated | None, changes: Changes) -> None:
        self.contracts[name].indicated = event
        changes.quotes[name] = self.contracts[name]

    def _on_accepted(self, event: OrderAccepted, changes: Changes) -> None:
        if event.price_micros is None:
            return
        contract = self.contracts[event.contract]
        iceberg = event.display_qty is not None
        order = RestingOrder(event.order_id, contract, event.side, event.price_micros, event.qty, 0, iceberg)
        self._orders[event.order_id] = order
        self._show(order, 0 if iceberg else event.qty, changes)

    def _on_gone(self, event: OrderCanceled | OrderExpired, changes: Changes) -> None:
        if event.price_micros is not None and event.kind != "block":
            self._take_off(self._resting(event.order_id), event.qty_left, 0, event, changes)

    def _on_reduced(self, event: OrderReduced, changes: Changes) -> None:
        if event.price_micros is not None:
            self._take_off(self._resting(event.order_id), event.qty_off, event.qty_left, event, changes)

    def _on_displayed(self, event: OrderDisplayed, changes: Changes) -> None:
        self._show(self._resting(event.order_id), event.qty_shown, changes)

    def _on_replaced(self, event: OrderReplaced, changes: Changes) -> None:
        order = self._orders.get(event.order_id)
        if order is None:
            self._doubt(event, f"order {event.order_id} does not rest here", changes)
            contract, price_micros = self.contracts[event.contract], event.price_micros
            order = RestingOrder(event.order_id, contract, event.side, price_micros, event.qty_left, 0, False)
            self._orders[event.order_id] = order
        before = order.shown
        self._show(order, 0, changes)
        order.price_micros, order.left = event.price_micros, event.qty_left
        kept = min(before, event.qty_left) if event.priority_kept else 0
        self._show(order, kept if order.iceberg else event.qty_left, changes)

    def _on_trade(self, event: Trade, changes: Changes) -> None:
        for order_id, left in ((event.maker_order_id, event.maker_left), (event.taker_order_id, event.taker_left)):
            order = self._orders.get(order_id)
            if order is not None:
                if order.iceberg and order_id == event.maker_order_id and event.taker_side is not None:
                    self._show(order, order.shown - event.qty, changes)
                self._take_off(order, event.qty, left, event, changes)
            elif event.block_id is None and order_id == event.maker_order_id:
                self._doubt(event, f"maker {order_id} does not rest here", changes)
        contract = self.contracts[event.contract]
        product = self.products[contract.product]
        contract.add_trade(event)
        product.recent.append(event)
        changes.trades.append(event)
        changes.quotes[event.contract] = contract
        for sym in (event.contract, contract.product):
            for candle in self.candles.add(
                sym, contract.period_s, event.ts_ms, event.price_micros, event.qty, event.seq
            ):
                _touch(changes, candle)

    # -- how they do it

    def _attempt(self, apply: Callable[..., None], event: AnyEvent, changes: Changes) -> None:
        """Apply an event; one that nobody thought of is doubted, and the view goes on. [F-10]"""
        try:
            apply(event, changes=changes)
        except Exception as error:
            self._doubt(event, f"{type(error).__name__}: {error}", changes)

    def _doubt(self, event: AnyEvent, detail: str, changes: Changes) -> None:
        name = getattr(event, "contract", None)
        changes.doubts.append(Doubt(event.seq, event.type, name, detail))
        if name in self.contracts and self.contracts[name].state == "OPEN":
            self.doubted.setdefault(name, event.seq)

    def _make_anew(self, contract: ContractView, changes: Changes) -> None:
        """Give a book the levels of the orders that rest in it."""
        ours = [order for order in self._orders.values() if order.contract is contract]
        wanted: Counter[tuple[Side, int]] = Counter()
        for order in ours:
            wanted[order.side, order.price_micros] += order.shown
        book = contract.open_book()
        for side in ("buy", "sell"):
            gpus = book.side(side).gpus
            for price_micros in {*gpus, *(price for its_side, price in wanted if its_side == side)}:
                book.change(side, price_micros, wanted[side, price_micros] - gpus.get(price_micros, 0))
        changes.quotes[contract.contract] = contract

    def _is_forgotten(self, name: str) -> bool:
        """Say whether a contract was listed once and ended so long ago that the view dropped it."""
        product = self.products.get(product_of(name))
        return name not in self.contracts and product is not None and contract_start_s(name) < product.forgotten_to_s

    def _resting(self, order_id: int) -> RestingOrder:
        if order_id not in self._orders:
            raise BookDisagrees(f"order {order_id} does not rest here")
        return self._orders[order_id]

    def _take_off(self, order: RestingOrder, qty: int, left: int, event: AnyEvent, changes: Changes) -> None:
        """Take GPUs off an order; those that the public does not see go first."""
        if order.left - qty != left:
            detail = f"order {order.order_id}: {order.left} GPUs less {qty}, the log says that {left} are left"
            self._doubt(event, detail, changes)
        order.left = left
        if order.shown > left or not order.iceberg:
            self._show(order, left, changes)
        if left == 0:
            del self._orders[order.order_id]

    def _show(self, order: RestingOrder, qty: int, changes: Changes) -> None:
        """Let the book have so many GPUs of an order."""
        before, order.shown = order.shown, max(0, qty)
        changes.quotes[order.contract.contract] = order.contract
        if order.shown != before:
            order.contract.open_book().change(order.side, order.price_micros, order.shown - before)

    def _depth_at_gates(self, events: Sequence[AnyEvent]) -> dict[str, Depth]:
        """Copy the depth of contracts whose gate closes in this command, from before its expiries."""
        names = [e.contract for e in events if e.type == "contract_state_changed" and e.state == "LOCKED"]
        books = {name: self.contracts[name].book for name in names if name in self.contracts}
        return {name: (book.bids.levels(), book.asks.levels()) for name, book in books.items()}

    def _fix_index(self, event: ContractStateChanged, depth: Depth, changes: Changes) -> None:
        name, contract = event.contract, self.contracts[event.contract]
        if not contract.fills:
            return
        product = self.products[contract.product]
        around = sorted(fill for other in product.neighbours(contract) for fill in other.fills)
        bids, asks = depth
        inputs = GateInputs(
            name, contract.gate_ms, contract.period_s, contract.fills, around, bids, asks, product.last_index
        )
        changes.fixings.append((contract, fix_index(inputs)))

    def _close_books(self, changes: Changes) -> None:
        first_doubted = {doubt.contract for doubt in changes.doubts if self.doubted.get(doubt.contract) == doubt.seq}
        for name, contract in changes.quotes.items():
            book = contract.own_book
            bids, asks = book.drain_changes() if book else ((), ())
            if bids or asks or name in first_doubted:
                changes.books.append(BookChange(contract, book.seq, bids, asks))
                book.seq = changes.seq

    def _forget_ended(self, product: ProductView) -> None:
        """Drop contracts that ended a while ago; their history stays in the store."""
        keep_s = max(KEEP_ENDED_S, KEEP_ENDED_PERIODS * product.terms.period_s)
        for contract in list(product.contracts.values()):
            if contract.state in ENDED and contract.end_s + keep_s < self.log_ms // 1000:
                del product.contracts[contract.start_s], self.contracts[contract.contract]
                product.forgotten_to_s = max(product.forgotten_to_s, contract.end_s)
                self.candles.forget(contract.contract)


HANDLERS = {
    "product_defined": "_on_product_defined",
    "product_state_changed": "_on_product_state",
    "contracts_listed": "_on_listed",
    "contract_state_changed": "_on_contract_state",
    "index_set": "_on_index",
    "auction_indicated": "_on_indicated",
    "auction_uncrossed": "_on_uncrossed",
    "order_accepted": "_on_accepted",
    "order_canceled": "_on_gone",
    "order_expired": "_on_gone",
    "order_reduced": "_on_reduced",
    "order_displayed": "_on_displayed",
    "order_replaced": "_on_replaced",
    "trade": "_on_trade",
}


@lru_cache(maxsize=8_192)
def name_ending(start_s: int, period_s: int) -> str:
    """Return what the names of all products' contracts of one period end in; hundreds of products share it."""
    return contract_name("", start_s, period_s)


def _touch(changes: Changes, candle: Candle) -> None:
    changes.candles[candle.sym, candle.interval, candle.start_ms] = candle
