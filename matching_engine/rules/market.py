"""What every rule works on: the store, and what is known of the record in hand."""

from heapq import heappush
from typing import Any

from matching_engine.rules.money import Accounts, Entry
from matching_engine.rules.state import Product, State
from matching_engine.rules.store import Store, start_of
from schemas.events import Event
from schemas.venue import DefineProduct


class Market:
    """A store with what follows from it. `drawing` is what the order in hand draws on vouchers;
    `reached_ms` is up to when deadlines have happened while log time moves.
    """

    drawing: Any = None

    def __init__(self, store: Store):
        self.store = store
        self.state: State = store.state
        self.accounts = Accounts(store.balances)
        self.offset = 0
        self.reached_ms = 0
        self.pulls: list[tuple[str, str]] = []
        self.gpu_nodes = {gpu: name for name, node in self.state.nodes.items() for gpu in node.gpus}

    @property
    def now_ms(self) -> int:
        return self.state.log_time_ms

    # -- events and money

    def emit(self, event: type[Event], **fields: Any) -> None:
        """Adds an event of the record in hand."""
        self.store.emit(event, fields)

    def entry(self, asset: str) -> Entry:
        """Begins a movement of money."""
        return Entry(self.accounts, asset)

    # -- products and contracts

    def product_of(self, contract: str) -> Product:
        """Returns the product of a contract."""
        return self.state.products[contract.rpartition("-")[0]]

    def terms_of(self, contract: str) -> DefineProduct:
        """Returns the terms of a contract that was listed."""
        return self.product_of(contract).terms(start_of(contract))

    def reference_micros(self, contract: str) -> int | None:
        """What a price is held against: the product's last index, else the contract's last trade."""
        return self.product_of(contract).last_index_micros or self.store.last_micros(contract)

    # -- time

    def at(self, time_ms: int, kind: int, name: str | int) -> None:
        """Sets a timer."""
        heappush(self.state.timers, (time_ms, kind, name))

    def next_rank(self) -> int:
        """The place in time of an order that goes behind all others: ids and ranks are one sequence."""
        self.state.last_order_id += 1
        return self.state.last_order_id
