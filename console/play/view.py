"""What a played trader knows when it decides: the curves everyone sees, and its own orders and positions."""

from dataclasses import dataclass, field

from console.play.value import Value


@dataclass(frozen=True)
class Terms:
    """A product as far as a trader needs it."""

    product: str
    currency: str
    lot: int
    tick_micros: int
    period_s: int
    gate_lead_s: int


@dataclass(frozen=True)
class Point:
    """One period of a product's curve; None where a side of its book is empty."""

    contract: str
    product: str
    start_s: int
    gate_s: int
    bid_micros: int | None = None
    bid_qty: int = 0
    ask_micros: int | None = None
    ask_qty: int = 0


@dataclass(frozen=True)
class Order:
    """An order of the trader's own that rests."""

    order_id: int
    contract: str
    side: str
    price_micros: int
    left: int


@dataclass(frozen=True)
class Holding:
    """A position of the trader's own that is not at its gate yet."""

    position_id: int
    contract: str
    qty: int
    price_micros: int


@dataclass(frozen=True)
class View:
    """Everything a decision is made from; decisions are functions of this and of chance."""

    now_s: int
    terms: dict[str, Terms]
    values: dict[str, Value]
    curves: dict[str, tuple[Point, ...]]
    orders: tuple[Order, ...] = ()
    holdings: tuple[Holding, ...] = field(default=())

    def points(self, product: str, margin_s: int = 4) -> tuple[Point, ...]:
        """Returns the periods of a product whose gate is not near, earliest first."""
        return tuple(point for point in self.curves.get(product, ()) if point.gate_s - self.now_s > margin_s)

    def value(self, point: Point) -> int:
        """Returns what a GPU-hour of the period is worth now, in micro-units."""
        return self.values[point.product].at(point.start_s, self.now_s)

    def held(self, contract: str) -> int:
        """Returns how many GPUs of a contract the trader holds."""
        return sum(holding.qty for holding in self.holdings if holding.contract == contract)

    def offered(self, contract: str) -> int:
        """Returns how many of them it already offers."""
        return sum(order.left for order in self.orders if order.contract == contract and order.side == "sell")
