"""The state with what is derived from it (books, indexes), and the list of events of the record in hand."""

from bisect import bisect_left, insort
from collections.abc import Iterator
from functools import lru_cache
from heapq import heappop, heappush
from typing import Any

from matching_engine.rules.money import Accounts, Entry
from matching_engine.rules.state import Block, Contract, Order, Product, State
from schemas.events import Event
from schemas.ids import contract_start_s
from schemas.venue import DefineProduct


@lru_cache(maxsize=65_536)
def start_of(contract: str) -> int | None:
    """The delivery start that a contract's name gives; None for an impossible date."""
    try:
        return contract_start_s(contract)
    except ValueError:
        return None


class Book:
    """The resting orders of one contract, best price first, the oldest first at each price."""

    def __init__(self) -> None:
        self.bids: list[tuple[int, int, int]] = []
        self.asks: list[tuple[int, int, int]] = []

    def side(self, side: str) -> list[tuple[int, int, int]]:
        """Returns the keys (signed price, rank, order id) of one side."""
        return self.bids if side == "buy" else self.asks


def rank_of(order: Order) -> int:
    """The order's place in time: its id, since ids are given in the order of acceptance, or the number it got later."""
    return (order.conditions and order.conditions.rank) or order.id


def book_key(order: Order) -> tuple[int, int, int]:
    """Price-time priority as a sort key, with the id."""
    return (-order.price_micros if order.side == "buy" else order.price_micros, rank_of(order), order.id)


class Market:
    """What every rule works on. `drawing` is what the order in hand draws on vouchers."""

    drawing: Any = None

    def __init__(self, state: State):
        self.state = state
        self.accounts = Accounts(state)
        self.offset = 0
        self.events: list[tuple[type[Event], dict[str, Any]]] = []
        self.pulls: list[tuple[str, str]] = []
        self.books: dict[str, Book] = {}
        self.node_orders: dict[str, set[int]] = {}
        self.capacity_orders: dict[int, set[int]] = {}
        self.gpu_nodes = {gpu: name for name, node in state.nodes.items() for gpu in node.gpus}
        self.expiries: list[tuple[int, str, str]] = []
        self.index_state()

    def index_state(self) -> None:
        """Derives the books and the other indexes of a state that comes from a snapshot."""
        for order in self.state.orders.values():
            self.index_order(order)
        for account, bindings in self.state.bindings.items():
            for client_order_id, binding in bindings.items():
                heappush(self.expiries, (binding.until_ms, account, client_order_id))

    @property
    def now_ms(self) -> int:
        return self.state.log_time_ms

    # -- events and money

    def emit(self, event: type[Event], **fields: Any) -> None:
        """Adds an event of the record in hand."""
        self.events.append((event, fields))

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

    def touch(self, contract: str) -> Contract:
        """Returns the contract, remembered from now on."""
        product = contract.rpartition("-")[0]
        return self.state.contracts.setdefault(contract, Contract(product, start_of(contract)))

    def reference_micros(self, contract: str) -> int | None:
        """What a price is held against: the product's last index, else the contract's last trade."""
        return self.product_of(contract).last_index_micros or self.last_micros(contract)

    def last_micros(self, contract: str) -> int | None:
        """The price of the contract's last trade."""
        known = self.state.contracts.get(contract)
        return known.last_micros if known is not None else None

    def note_price(self, contract: str, price_micros: int) -> None:
        """Remembers the price of the contract's last trade."""
        self.state.contracts[contract].last_micros = price_micros

    def rules_changed(self) -> None:
        """Said where what a product or an account may do has changed within a command; here nothing keeps copies."""

    # -- what blocks look for

    def walk_nodes(self, block: Block, contracts: list[str]) -> tuple[int, Iterator] | None:
        """How many nodes offer something and all their lots, where there is a quicker way than reading whole books."""

    def first_offer(self, block: Block, contract: str, node: str) -> Any:
        """The first that a node offers, where there is a quicker way."""

    # -- timers

    def at(self, time_ms: int, kind: int, name: str | int) -> None:
        """Sets a timer."""
        heappush(self.state.timers, (time_ms, kind, name))

    def next_due(self) -> tuple[int, int, str | int] | None:
        """Takes the first timer that log time has reached, in the order (time, kind, id)."""
        timers = self.state.timers
        return heappop(timers) if timers and timers[0][0] <= self.now_ms else None

    # -- resting orders

    def next_rank(self) -> int:
        """The place in time of an order that goes behind all others: ids and ranks are one sequence."""
        self.state.last_order_id += 1
        return self.state.last_order_id

    def book(self, contract: str) -> Book:
        """Returns the book of a contract."""
        return self.books.setdefault(contract, Book())

    def rest(self, order: Order) -> None:
        """Puts an order into its book."""
        self.state.orders[order.id] = order
        self.index_order(order)

    def index_order(self, order: Order) -> None:
        insort(self.book(order.contract).side(order.side), book_key(order))
        if order.node is not None:
            self.node_orders.setdefault(order.node, set()).add(order.id)
        if order.parent_id is not None:
            self.capacity_orders.setdefault(order.parent_id, set()).add(order.id)

    def unrest(self, order: Order) -> None:
        """Takes an order out of its book."""
        del self.state.orders[order.id]
        keys = self.book(order.contract).side(order.side)
        del keys[bisect_left(keys, book_key(order))]
        if order.node is not None:
            self.node_orders[order.node].discard(order.id)
        if order.parent_id is not None:
            self.capacity_orders[order.parent_id].discard(order.id)
            if not self.capacity_orders[order.parent_id]:
                del self.capacity_orders[order.parent_id]

    def best(self, contract: str, side: str) -> Order | None:
        """The order that trades first on one side."""
        keys = self.book(contract).side(side)
        return self.state.orders[keys[0][2]] if keys else None

    def resting(self, contract: str, side: str) -> Iterator[Order]:
        """The resting orders of one side, best first."""
        return (self.state.orders[order_id] for _, _, order_id in list(self.book(contract).side(side)))

    def resting_of(self, account: str) -> list[Order]:
        """The resting orders of an account, oldest first."""
        return [order for _, order in sorted(self.state.orders.items()) if order.account == account]

    def blocks_of(self, account: str) -> list[Block]:
        """The blocks of an account that wait, oldest first."""
        return [block for _, block in sorted(self.state.blocks.items()) if block.account == account]

    def asks_of(self, node: str) -> list[Order]:
        """The resting asks that a node backs, oldest first."""
        return [self.state.orders[order_id] for order_id in sorted(self.node_orders.get(node, ()))]
