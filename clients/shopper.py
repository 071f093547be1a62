"""The secret shopper's choice: which block an ordinary buyer of random taste rents next, below a budget a day. Pure.

It draws a start among all that are offered, so that an operator who is offered for longer is visited more often, and
then a length. What it may spend is what it has not spent in the last 24 hours.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

DAY = timedelta(hours=24)
LATEST_PERMILLE = 750
# What gave its money back, or passed it on to the next buyer, was not spent.
UNSPENT = ("ENDED", "RESOLD")


@dataclass(frozen=True)
class Taste:
    """What the shopper may buy: in one currency, so much a day, so many periods at most, of some products or of all."""

    currency: str
    budget_per_day: Decimal
    periods_max: int = 1
    products: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Block:
    """A block to bid for: one lot, at most at the dearest of its periods' asks."""

    product: str
    start: str
    periods: int
    qty: int
    limit_price: str
    cost: Decimal

    @property
    def order(self) -> dict[str, object]:
        """The order as any buyer sends it: all of it now, or none."""
        terms: dict[str, object] = {
            "product": self.product,
            "start": self.start,
            "periods": self.periods,
            "qty": self.qty,
        }
        return terms | {"kind": "block", "limit_price": self.limit_price, "tif": "FOK"}


def spent(positions: Iterable[Mapping], currency: str, now: datetime) -> Decimal:
    """Returns what a buyer's positions of the last 24 hours hold or have cost; `positions` come newest first."""
    total = Decimal(0)
    for position in positions:
        if datetime.fromisoformat(position["opened"]) <= now - DAY:
            break
        if position["role"] == "buyer" and position["currency"] == currency and position["state"] not in UNSPENT:
            total += Decimal(position["escrow"])
    return total


def choose(
    curves: Sequence[tuple[Mapping, Sequence[Mapping]]], taste: Taste, left: Decimal, draw: Random
) -> Block | None:
    """Draws a block; None where nothing is offered that the rest of the budget pays.

    `curves` are products, as market data lists them, each with the points of its forward curve.
    """
    starts = [
        blocks
        for product, points in curves
        if product["currency"] == taste.currency and product["state"] == "OPEN"
        if not taste.products or product["product"] in taste.products
        for place in range(len(points))
        if (blocks := _blocks_from(product, points[place : place + taste.periods_max], left))
    ]
    return draw.choice(draw.choice(starts)) if starts else None


def _blocks_from(product: Mapping, points: Sequence[Mapping], left: Decimal) -> list[Block]:
    """Returns the blocks that begin with the first of these points, as long as each next period is offered too."""
    found: list[Block] = []
    cost, dearest, lot = Decimal(0), Decimal(0), product["lot"]
    expected = datetime.fromisoformat(points[0]["start"])
    for point in points:
        is_next = datetime.fromisoformat(point["start"]) == expected
        offered = point.get("ask") is not None and Decimal(point["ask_qty"]) >= lot
        if not (is_next and point["state"] == "OPEN" and offered):
            break
        price = Decimal(point["ask"])
        cost, dearest = cost + lot * price * product["period_s"] / 3600, max(dearest, price)
        if cost > left:
            break
        found.append(Block(product["product"], points[0]["start"], len(found) + 1, lot, str(dearest), cost))
        expected += timedelta(seconds=product["period_s"])
    return found


def visit_ms(starts_ms: int, ends_ms: int, draw: Random) -> int:
    """Draws when a lease is looked at: while it is paid for, and early enough for the proof and a second try."""
    return starts_ms + draw.randrange(max(1, (ends_ms - starts_ms) * LATEST_PERMILLE // 1_000))


def now_utc() -> datetime:
    """This moment."""
    return datetime.now(UTC)
