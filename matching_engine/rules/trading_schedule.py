"""A product's day: which state its schedule asks for, and when it changes next."""

from matching_engine.rules import deadlines
from matching_engine.rules.market import Market
from schemas.venue import DefineProduct, ProductState

DAY_S = 86_400


def scheduled_state(terms: DefineProduct, now_ms: int) -> ProductState | None:
    """What the schedule says at a time; None without one."""
    entries = sorted(terms.trading.schedule, key=lambda entry: entry.at_s)
    passed = [entry.state for entry in entries if entry.at_s <= now_ms // 1000 % DAY_S]
    return (passed or [entry.state for entry in entries] or [None])[-1]


def follow_schedule(market: Market, name: str, after_ms: int) -> None:
    """Sets the deadline for the first scheduled change after a time."""
    product = market.state.products[name]
    after_s = after_ms // 1000
    midnight_s = after_s - after_s % DAY_S
    times = [midnight_s + day * DAY_S + each.at_s for each in product.newest.trading.schedule for day in (0, 1)]
    later = [time_s for time_s in times if time_s > after_s]
    product.schedule_ms = min(later) * 1000 if later else None
    if product.schedule_ms is not None:
        market.at(product.schedule_ms, deadlines.SCHEDULE, name)
