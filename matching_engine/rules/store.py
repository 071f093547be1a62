"""The port between the rules and what keeps the exchange: Python objects here, C structs in the compiled engine."""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from functools import lru_cache
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, Protocol

from matching_engine.rules.money import Balances, PlainBalances
from matching_engine.rules.state import AccountLimits, Block, Contract, Order, Protection, State
from schemas.events import Event
from schemas.ids import contract_start_s
from schemas.venue import ProductState

if TYPE_CHECKING:
    from matching_engine.rules.market import Market

Deadline = tuple[int, int, str | int]


class Terms:
    """What products and accounts may do, as the state has it. Whoever keeps copies of it is told of every change."""

    def __init__(self, state: State, note_change: Callable[[], None] = lambda: None):
        self.state, self.note_change = state, note_change

    def set_ruleset(self, ruleset: int) -> None:
        """The log goes on by newer rules."""
        self.state.ruleset = ruleset
        self.note_change()

    def set_product_state(self, name: str, state: ProductState, opens_ms: int | None) -> None:
        """A product trades otherwise from now on."""
        product = self.state.products[name]
        product.state, product.opens_ms = state, opens_ms
        self.note_change()

    def set_watched(self, name: str, watched: bool) -> None:
        """Whether the trades of a product count for somebody's throttle."""
        self.state.products[name].watched = watched
        self.note_change()

    def set_limits(self, account: str, limits: AccountLimits | None) -> None:
        """An account's limits, or none."""
        if limits is None:
            self.state.limits.pop(account, None)
        else:
            self.state.limits[account] = limits
        self.note_change()

    def set_protection(self, product: str, account: str, protection: Protection | None) -> None:
        """A maker's protection in a product, or none."""
        protections = self.state.protections.setdefault(product, {})
        if protection is not None:
            protections[account] = protection
        else:
            protections.pop(account, None)
        if not protections:
            del self.state.protections[product]
        self.note_change()


class Store(Protocol):
    """What rules read and change of books, money and time. `state` has what they find by one key."""

    state: State
    terms: Terms
    balances: Balances

    # -- events of the record in hand

    def emit(self, event: type[Event], fields: dict[str, Any]) -> None:
        """Adds an event."""

    def count_events(self) -> int:
        """How many the record in hand has caused so far."""

    # -- resting orders

    def rest(self, order: Order) -> None:
        """Puts an order into its book."""

    def remove_order(self, order: Order) -> None:
        """Takes an order out of its book."""

    def best(self, contract: str, side: str) -> Order | None:
        """The order that trades first on one side."""

    def resting(self, contract: str, side: str) -> Iterator[Order]:
        """The resting orders of one side, best first."""

    def resting_of(self, account: str) -> list[Order]:
        """The resting orders of an account, oldest first."""

    def asks_of(self, node: str) -> list[Order]:
        """The resting asks that a node backs, oldest first."""

    def parts_of(self, order_id: int) -> list[Order]:
        """The resting asks of a capacity order, oldest first."""

    def blocks_of(self, account: str) -> list[Block]:
        """The blocks of an account that wait, oldest first."""

    # -- contracts

    def touch(self, contract: str) -> Contract:
        """The contract, remembered from now on."""

    def forget_contract(self, contract: str) -> None:
        """A contract in which nothing was sold is over."""

    def last_micros(self, contract: str) -> int | None:
        """The price of the contract's last trade."""

    def note_price(self, contract: str, price_micros: int) -> None:
        """Remembers the price of the contract's last trade."""

    # -- time

    def next_due(self) -> Deadline | None:
        """Takes the first timer that log time has reached, in the order (time, kind, id)."""

    def expire_binding(self, until_ms: int, account: str, client_order_id: str) -> None:
        """A client's id is kept until then."""

    def forget_bindings(self) -> None:
        """Log time has moved: ids whose time is over are free again."""

    # -- what blocks look for

    def walk_nodes(self, market: "Market", block: Block, contracts: list[str]) -> tuple[int, Iterator] | None:
        """How many nodes offer something and all their lots, where there is a quicker way than reading whole books."""

    def first_offer(self, market: "Market", block: Block, contract: str, node: str) -> Any:
        """The first that a node offers, where there is a quicker way."""


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


class PlainStore:
    """The state as it is, with sorted lists for books and a dictionary for every other question."""

    def __init__(self, state: State):
        self.state = state
        self.terms = Terms(state)
        self.balances = PlainBalances(state.balances)
        self.events: list[tuple[type[Event], dict[str, Any]]] = []
        self.books: dict[str, Book] = {}
        self.node_orders: dict[str, set[int]] = {}
        self.capacity_orders: dict[int, set[int]] = {}
        self.expiries: list[tuple[int, str, str]] = []
        for order in state.orders.values():
            self.index_order(order)
        for account, bindings in state.bindings.items():
            for client_order_id, binding in bindings.items():
                self.expire_binding(binding.until_ms, account, client_order_id)

    def emit(self, event: type[Event], fields: dict[str, Any]) -> None:
        self.events.append((event, fields))

    def count_events(self) -> int:
        return len(self.events)

    # -- resting orders

    def book(self, contract: str) -> Book:
        """Returns the book of a contract."""
        return self.books.setdefault(contract, Book())

    def rest(self, order: Order) -> None:
        self.state.orders[order.id] = order
        self.index_order(order)

    def index_order(self, order: Order) -> None:
        insort(self.book(order.contract).side(order.side), book_key(order))
        if order.node is not None:
            self.node_orders.setdefault(order.node, set()).add(order.id)
        if order.parent_id is not None:
            self.capacity_orders.setdefault(order.parent_id, set()).add(order.id)

    def remove_order(self, order: Order) -> None:
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
        keys = self.book(contract).side(side)
        return self.state.orders[keys[0][2]] if keys else None

    def resting(self, contract: str, side: str) -> Iterator[Order]:
        return (self.state.orders[order_id] for _, _, order_id in list(self.book(contract).side(side)))

    def resting_of(self, account: str) -> list[Order]:
        return [order for _, order in sorted(self.state.orders.items()) if order.account == account]

    def asks_of(self, node: str) -> list[Order]:
        return [self.state.orders[order_id] for order_id in sorted(self.node_orders.get(node, ()))]

    def parts_of(self, order_id: int) -> list[Order]:
        return [self.state.orders[each] for each in sorted(self.capacity_orders.get(order_id, ()))]

    def blocks_of(self, account: str) -> list[Block]:
        return [block for _, block in sorted(self.state.blocks.items()) if block.account == account]

    # -- contracts

    def touch(self, contract: str) -> Contract:
        product = contract.rpartition("-")[0]
        return self.state.contracts.setdefault(contract, Contract(product, start_of(contract)))

    def forget_contract(self, contract: str) -> None:
        self.state.contracts.pop(contract, None)
        self.books.pop(contract, None)

    def last_micros(self, contract: str) -> int | None:
        known = self.state.contracts.get(contract)
        return known.last_micros if known is not None else None

    def note_price(self, contract: str, price_micros: int) -> None:
        self.state.contracts[contract].last_micros = price_micros

    # -- time

    def next_due(self) -> Deadline | None:
        timers = self.state.timers
        return heappop(timers) if timers and timers[0][0] <= self.state.log_time_ms else None

    def expire_binding(self, until_ms: int, account: str, client_order_id: str) -> None:
        heappush(self.expiries, (until_ms, account, client_order_id))

    def forget_bindings(self) -> None:
        while self.expiries and self.expiries[0][0] <= self.state.log_time_ms:
            _, account, client_order_id = heappop(self.expiries)
            del self.state.bindings[account][client_order_id]
            if not self.state.bindings[account]:
                del self.state.bindings[account]

    # -- what blocks look for: the rules read whole books

    def walk_nodes(self, market: "Market", block: Block, contracts: list[str]) -> None:
        return None

    def first_offer(self, market: "Market", block: Block, contract: str, node: str) -> None:
        return None
