"""The price of one period by the policy's rules, with the rules that made it; integers only, nothing but arithmetic."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from agents.node.price_rules import DecayRule, OccupancyRule, PriceRule
from agents.node.windows import zone_of
from schemas.money import PRICE_MAX_MICROS, format_micros, parse_micros

HOUR_S = 3600
POINTS = 10


@dataclass(frozen=True)
class Market:
    """What the rules go by: the last index, the best ask of others by period, how much of the coming hours is sold."""

    index_micros: int | None = None
    best_other: Mapping[int, int] = field(default_factory=dict)
    sold_percent: int | None = None


@dataclass(frozen=True)
class Quote:
    """A price of whole ticks, its floor, and the rules that made it, in their order."""

    micros: int
    floor_micros: int
    why: tuple[str, ...]


def quote(start_s: int, now_s: int, rule: PriceRule, tick_micros: int, market: Market) -> Quote:
    """Prices one period: what is asked or the index, then occupancy, age and the best other ask; never below the floor.

    The same facts always give the same price: no price follows from the last one, so none drifts.
    """
    hour = datetime.fromtimestamp(start_s, zone_of(rule.time_zone)).hour
    floor = round_up_to_tick(rule.floor_micros(hour), tick_micros)
    price, why = _wished(rule, hour, floor, market)
    if rule.occupancy and market.sold_percent is not None:
        percent = _occupancy_percent(rule.occupancy, market.sold_percent)
        if percent:
            price = price * (100 + percent) // 100
            why.append(f"occupancy {percent:+d} % ({market.sold_percent} % sold)")
    if rule.decay and price > floor and (done := _steps_done(rule.decay, start_s - now_s)):
        price -= (price - floor) * done // rule.decay.steps
        why.append(f"decay {done} of {rule.decay.steps} steps")
    best = market.best_other.get(start_s) if rule.undercut else None
    if best is not None and best - rule.undercut.ticks * tick_micros < price:
        price = best - rule.undercut.ticks * tick_micros
        why.append(f"undercut {format_micros(best)}")
    return _within(price, floor, rule, tick_micros, why)


def round_up_to_tick(micros: int, tick_micros: int) -> int:
    """Rounds a price up to a whole tick."""
    return -(-micros // tick_micros) * tick_micros


def sold_percent(sold: Mapping[int, int], starts: range, gpus: int) -> int | None:
    """Returns how much of the GPUs is sold over some periods; None where there are none."""
    whole = gpus * len(starts)
    return 100 * sum(min(sold.get(start_s, 0), gpus) for start_s in starts) // whole if whole else None


def _wished(rule: PriceRule, hour: int, floor: int, market: Market) -> tuple[int, list[str]]:
    if rule.index and market.index_micros is not None:
        words = f"index {format_micros(market.index_micros)} {rule.index.percent:+d} %"
        return market.index_micros * (100 + rule.index.percent) // 100, [words]
    ask = rule.ask_micros(hour)
    return (floor, ["floor"]) if ask is None else (ask, ["ask"])


def _occupancy_percent(rule: OccupancyRule, sold: int) -> int:
    points = sold - rule.target_percent
    percent = abs(points) // POINTS * rule.step_percent
    return min(percent, rule.percent_max) * (1 if points > 0 else -1)


def _steps_done(rule: DecayRule, ahead_s: int) -> int:
    passed_s = rule.from_hours * HOUR_S - ahead_s
    done = passed_s * rule.steps // ((rule.from_hours - rule.to_hours) * HOUR_S)
    return min(max(done, 0), rule.steps)


def _within(price: int, floor: int, rule: PriceRule, tick_micros: int, why: list[str]) -> Quote:
    highest = parse_micros(rule.ceiling) if rule.ceiling else PRICE_MAX_MICROS
    highest = max(highest // tick_micros * tick_micros, floor)
    asked = round_up_to_tick(price, tick_micros)
    if asked < floor:
        why.append("stops at the floor")
    elif asked > highest:
        why.append("stops at the ceiling")
    return Quote(min(max(asked, floor), highest), floor, tuple(why))
