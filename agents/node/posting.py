"""Which capacity to offer and which to withdraw: what should stand in the books against what does, period by period."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas.money import MICROS

HOUR_S = 3600


@dataclass(frozen=True)
class Terms:
    """A product as far as posting needs it; prices must be whole ticks."""

    product: str
    period_s: int
    horizon_periods: int
    gate_lead_s: int
    tick_micros: int


@dataclass(frozen=True)
class Ask:
    """What one capacity order still offers in one period; `product` where it is known.

    A `twin` offers the same GPUs of a split node singly.
    """

    order_id: int
    start_s: int
    gpus: int
    price_micros: int
    product: str = field(default="", compare=False)
    twin: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class Wanted:
    """What should stand in a period: whole lots of GPUs at a price; `pool` counts the GPUs before they were lots."""

    gpus: int
    micros: int
    floor_micros: int
    pool: int


@dataclass(frozen=True)
class Offer:
    """A capacity order to post: so many GPUs in every period of [from_s, to_s), each period at its price."""

    from_s: int
    to_s: int
    gpus: int
    prices: Mapping[int, int]


@dataclass(frozen=True)
class Reprice:
    """Other prices for what stands of an order; `is_urgent` where some of it stands below the floor."""

    order_id: int
    prices: Mapping[int, int]
    is_urgent: bool = False


@dataclass(frozen=True)
class Plan:
    """What to do now; withdrawals come first, then orders get their prices anew."""

    withdraw: tuple[int, ...] = ()
    reprice: tuple[Reprice, ...] = ()
    offer: tuple[Offer, ...] = ()


def open_periods(terms: Terms, now_s: int, periods_ahead: int, margin_s: int) -> range:
    """Returns the starts of the periods that can be sold: gate not near, listed, not further ahead than the policy."""
    first_s = -(-(now_s + terms.gate_lead_s + margin_s + 1) // terms.period_s) * terms.period_s
    listed_until_s = now_s + (terms.horizon_periods - 1) * terms.period_s
    return range(first_s, min(first_s + periods_ahead * terms.period_s, listed_until_s), terms.period_s)


def without_small_tail(starts: range, standing: tuple[Ask, ...], extend_by: int) -> range:
    """Returns the periods to look at: new ones at the far end wait until `extend_by` of them make one order."""
    last_s = max((ask.start_s for ask in standing if ask.start_s in starts), default=None)
    if last_s is None or len([start_s for start_s in starts if start_s > last_s]) >= extend_by:
        return starts
    return range(starts.start, last_s + starts.step, starts.step)


def price_text(micros: int) -> str:
    """Writes a price as the REST API takes it."""
    whole, part = divmod(micros, MICROS)
    return f"{whole}.{part:06d}"


def curve_of(prices: Mapping[int, int]) -> dict[int, int]:
    """Returns prices by the UTC hour of the day, as the venue keeps them: the highest, where an hour has several."""
    curve: dict[int, int] = {}
    for start_s, micros in prices.items():
        hour = start_s // HOUR_S % 24
        curve[hour] = max(micros, curve.get(hour, 0))
    return curve


def make_plan(
    wanted: Mapping[int, Wanted],
    period_s: int,
    standing: tuple[Ask, ...],
    lot: int,
    least_micros: int = 1,
    changing: frozenset[int] = frozenset(),
) -> Plan:
    """Compares what should stand in each period with what does.

    An order that offers too much is withdrawn whole, and what that leaves open is offered next time, when the books
    show it gone; `changing` periods wait likewise, because another product's order leaves them. An order that stands
    below a floor, or `least_micros` and more from its prices, is repriced; a period that offers too little is topped
    up. Neighbours that miss the same go into one order, as far as one curve of 24 hours has their prices.
    """
    wrong: set[int] = set()
    missing: dict[int, int] = {}
    for start_s, want in wanted.items():
        here = [ask for ask in standing if ask.start_s == start_s and ask.order_id not in wrong]
        asks, twins = [ask for ask in here if not ask.twin], [ask for ask in here if ask.twin]
        surplus = sum(ask.gpus for ask in asks) - want.gpus
        if surplus > 0 or sum(ask.gpus for ask in twins) > want.pool:
            wrong |= {ask.order_id for ask in here}
        elif surplus < 0:
            missing[start_s] = -surplus // lot * lot
    touched = changing | {ask.start_s for ask in standing if ask.order_id in wrong}
    open_now = {start_s: count for start_s, count in missing.items() if count and start_s not in touched}
    kept = [ask for ask in standing if ask.order_id not in wrong and ask.start_s in wanted]
    prices = {start_s: wanted[start_s].micros for start_s in open_now}
    return Plan(tuple(sorted(wrong)), _reprices(kept, wanted, least_micros), _runs(open_now, prices, period_s))


def _reprices(standing: list[Ask], wanted: Mapping[int, Wanted], least_micros: int) -> tuple[Reprice, ...]:
    """Returns the orders at other prices: those below a floor first, then those that deliver first."""
    orders: dict[int, list[Ask]] = {}
    for ask in standing:
        orders.setdefault(ask.order_id, []).append(ask)
    found: list[tuple[bool, int, Reprice]] = []
    for order_id, asks in orders.items():
        prices = {ask.start_s: wanted[ask.start_s].micros for ask in asks}
        curve = curve_of(prices)
        moves = [abs(ask.price_micros - curve[ask.start_s // HOUR_S % 24]) for ask in asks]
        is_low = any(ask.price_micros < wanted[ask.start_s].floor_micros for ask in asks)
        if is_low or max(moves) >= least_micros:
            found.append((not is_low, min(prices), Reprice(order_id, prices, is_low)))
    return tuple(reprice for *_, reprice in sorted(found, key=lambda each: (*each[:2], each[2].order_id)))


def _runs(missing: dict[int, int], prices: dict[int, int], period_s: int) -> tuple[Offer, ...]:
    runs: list[Offer] = []
    for start_s, gpus in sorted(missing.items()):
        price = {start_s: prices[start_s]}
        if runs and runs[-1].to_s == start_s and runs[-1].gpus == gpus and _fits(runs[-1].prices, start_s, price):
            runs[-1] = Offer(runs[-1].from_s, start_s + period_s, gpus, {**runs[-1].prices, **price})
        else:
            runs.append(Offer(start_s, start_s + period_s, gpus, price))
    return tuple(runs)


def _fits(prices: Mapping[int, int], start_s: int, price: Mapping[int, int]) -> bool:
    return curve_of(prices).get(start_s // HOUR_S % 24, price[start_s]) == price[start_s]
