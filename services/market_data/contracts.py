"""What the view knows of one product and of one contract."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from schemas.events import AuctionIndicated, AuctionUncrossed, ContractState, IndexSet, Trade
from schemas.venue import DefineProduct, ProductState
from services.market_data.books import Book
from services.market_data.index import Fill, LastIndex

RECENT_TRADES = 50
RECENT_INDEXES = 48
RECENT_AUCTIONS = 200
EMPTY_BOOK = Book()
ENDED: frozenset[ContractState] = frozenset({"EXPIRED", "METERED", "VOID"})


@dataclass(slots=True)
class ContractView:
    """A contract: its book, its trades in figures, and the fills that its index and its neighbours' may need.

    Tens of thousands are listed and few ever trade, so one without orders has no book of its own yet.
    """

    contract: str
    product: str
    start_s: int
    period_s: int
    gate_lead_s: int
    state: ContractState = "OPEN"
    positions: int = 0
    own_book: Book | None = None
    fills: Sequence[Fill] = ()
    recent: Sequence[Trade] = ()
    open_micros: int | None = None
    high_micros: int | None = None
    low_micros: int | None = None
    qty: int = 0
    trades: int = 0
    index: IndexSet | None = None
    indicated: AuctionIndicated | None = None

    @property
    def book(self) -> Book:
        """The book, to look at; `open_book` is the one to change."""
        return self.own_book or EMPTY_BOOK

    def open_book(self) -> Book:
        """Return the contract's own book, made when it is needed first."""
        if self.own_book is None:
            self.own_book = Book()
        return self.own_book

    @property
    def gate_ms(self) -> int:
        return (self.start_s - self.gate_lead_s) * 1000

    @property
    def end_s(self) -> int:
        return self.start_s + self.period_s

    @property
    def last(self) -> Trade | None:
        return self.recent[-1] if self.recent else None

    def add_trade(self, trade: Trade) -> None:
        """Count one trade."""
        price_micros = trade.price_micros
        self.open_micros = self.open_micros or price_micros
        self.high_micros = max(self.high_micros or 0, price_micros)
        self.low_micros = min(self.low_micros or price_micros, price_micros)
        self.qty += trade.qty
        self.trades += 1
        if not self.fills:
            self.fills, self.recent = [], deque(maxlen=RECENT_TRADES)
        self.recent.append(trade)
        self.fills.append(Fill(trade.seq, trade.ts_ms, price_micros, trade.qty, trade.buyer, trade.seller))


@dataclass(slots=True)
class ProductView:
    """A product: its terms, its state, its contracts by delivery start; before `forgotten_to_s` some were dropped."""

    terms: DefineProduct
    state: ProductState = "CLOSED"
    contracts: dict[int, ContractView] = field(default_factory=dict)
    recent: deque[Trade] = field(default_factory=lambda: deque(maxlen=RECENT_TRADES))
    indexes: deque[IndexSet] = field(default_factory=lambda: deque(maxlen=RECENT_INDEXES))
    last_index: LastIndex | None = None
    last_index_start_s: int = -1
    auctions: deque[AuctionUncrossed] = field(default_factory=lambda: deque(maxlen=RECENT_AUCTIONS))
    opens_ms: int | None = None
    forgotten_to_s: int = 0

    def listed(self) -> list[ContractView]:
        """Return the contracts that can still be traded, earliest first."""
        return sorted((c for c in self.contracts.values() if c.state == "OPEN"), key=lambda c: c.start_s)

    def indicated(self) -> list[AuctionIndicated]:
        """Return what the auctions that go on would come to, earliest contract first."""
        return [contract.indicated for contract in self.listed() if contract.indicated is not None]

    def neighbours(self, contract: ContractView) -> list[ContractView]:
        """Return the contracts of the periods before and after."""
        starts = (contract.start_s - contract.period_s, contract.start_s + contract.period_s)
        return [self.contracts[start] for start in starts if start in self.contracts]
