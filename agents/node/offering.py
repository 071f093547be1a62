"""What should stand in each coming period, and why: GPUs for each tier at a price, or why there are none."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from agents.node.idleness.source import Look
from agents.node.offers import OfferRule
from agents.node.policy import Policy
from agents.node.posting import Wanted
from agents.node.pricing import Market, Quote, quote, sold_percent
from agents.node.windows import zone_of


@dataclass(frozen=True)
class Capacity:
    """How many of the node's GPUs may be sold: `gpus` of `whole`, and why not more; less where a scheduler has jobs."""

    gpus: int
    whole: int
    reason: str = ""
    look: Look | None = None

    def at(self, start_s: int, end_s: int) -> tuple[int, str]:
        """Returns the GPUs that may be sold in one period, and why they are not all."""
        free, users = self.look.free(start_s, end_s) if self.look else (self.gpus, "")
        return (free, users) if free < self.gpus else (self.gpus, self.reason)


@dataclass(frozen=True)
class Sold:
    """The node's GPUs that are sold, by period: all together, and by tier."""

    all: Mapping[int, int] = field(default_factory=dict)
    by_tier: Mapping[str, Mapping[int, int]] = field(default_factory=dict)

    @classmethod
    def of_tiers(cls, by_tier: Mapping[str, Mapping[int, int]]) -> "Sold":
        """Adds up what is sold in each tier."""
        starts = {start_s for sold in by_tier.values() for start_s in sold}
        return cls({start_s: sum(sold.get(start_s, 0) for sold in by_tier.values()) for start_s in starts}, by_tier)

    def of(self, tier: str, start_s: int) -> int:
        """Returns how many are sold in one tier and period."""
        return self.by_tier.get(tier, {}).get(start_s, 0)


@dataclass(frozen=True)
class Wish:
    """What should stand of one tier in one period: GPUs and price; `why_not` where GPUs are missing."""

    tier: str
    start_s: int
    gpus: int
    price: Quote
    pool: int
    why_not: tuple[str, ...] = ()

    @property
    def wanted(self) -> Wanted:
        """What posting compares with what stands."""
        return Wanted(self.gpus, self.price.micros, self.price.floor_micros, self.pool)


def wishes_for(
    policy: Policy,
    offers: tuple[OfferRule, ...],
    starts: range,
    capacity: Capacity,
    sold: Sold,
    lot: int,
    price: Callable[[OfferRule, int], Quote],
) -> tuple[Wish, ...]:
    """Returns a wish for each offer and period. Earlier offers have the first choice of the GPUs."""
    wishes: list[Wish] = []
    for start_s in starts:
        left, reasons = _for_sale(policy, start_s, start_s + starts.step, capacity)
        left = max(left - sold.all.get(start_s, 0), 0)
        reasons += (f"{sold.all[start_s]} sold",) if sold.all.get(start_s) else ()
        for offer in offers:
            gpus, why_not = _share(policy, offer, start_s, left, reasons, sold.of(offer.tier, start_s))
            if gpus % lot:
                why_not += (f"{gpus} GPUs are not a whole node of {lot}",)
            wishes.append(Wish(offer.tier, start_s, gpus // lot * lot, price(offer, start_s), gpus, why_not))
            left -= gpus // lot * lot
    return _without_short_runs(tuple(wishes), starts.step, policy.minimum_block)


def pricer(
    policy: Policy,
    starts: range,
    now_s: int,
    ticks: Mapping[str, int],
    markets: Mapping[str, Market],
    sold: Sold,
    whole: int,
) -> Callable[[OfferRule, int], Quote]:
    """Returns what prices an offer's periods: by its tick, market, and the share of the coming hours that is sold."""
    share = sold_percent(sold.all, starts, whole)
    known = {tier: replace(market, sold_percent=share) for tier, market in markets.items()}

    def price(offer: OfferRule, start_s: int) -> Quote:
        market = known.get(offer.tier, Market(sold_percent=share))
        return quote(start_s, now_s, offer.price or policy.price, ticks[offer.tier], market)

    return price


def _for_sale(policy: Policy, start_s: int, end_s: int, capacity: Capacity) -> tuple[int, tuple[str, ...]]:
    """Returns how many GPUs may be sold in a period, the sold ones included, and what takes the others."""
    zone = zone_of(policy.time_zone)
    for window in policy.maintenance:
        if window.overlaps(start_s, end_s, zone):
            return 0, (f"maintenance {window.in_words()}",)
    gpus, reason = capacity.at(start_s, end_s)
    reasons = (reason,) if reason else ()
    kept = [window for window in policy.keep_free if window.overlaps(start_s, end_s, zone)]
    if kept:
        reasons += tuple(window.in_words() for window in kept)
        gpus = max(gpus - sum(capacity.whole if window.gpus is None else window.gpus for window in kept), 0)
    return gpus, reasons


def _share(
    policy: Policy, offer: OfferRule, start_s: int, left: int, reasons: tuple[str, ...], sold: int
) -> tuple[int, tuple[str, ...]]:
    zone = zone_of(policy.time_zone)
    if offer.hours and not any(window.covers(start_s, zone) for window in offer.hours):
        return 0, (f"tier {offer.tier} is offered {', '.join(window.in_words() for window in offer.hours)}",)
    most = left if offer.gpus is None else max(offer.gpus - sold, 0)
    if most < left:
        return most, (*reasons, f"tier {offer.tier} gets {offer.gpus} at most")
    return left, reasons


def _without_short_runs(wishes: tuple[Wish, ...], period_s: int, least: int) -> tuple[Wish, ...]:
    """Takes out what stands in fewer periods in a row than the policy's minimum block."""
    if least == 1:
        return wishes
    kept = {(wish.tier, wish.start_s): wish for wish in wishes}
    for tier in {wish.tier for wish in wishes}:
        run: list[Wish] = []
        for wish in (*(each for each in wishes if each.tier == tier), None):
            follows = wish is not None and wish.gpus and (not run or run[-1].start_s + period_s == wish.start_s)
            if not follows:
                for each in run if len(run) < least else ():
                    words = f"{len(run)} periods in a row, minimum_block is {least}"
                    kept[tier, each.start_s] = replace(each, gpus=0, pool=0, why_not=(*each.why_not, words))
                run = []
            if wish is not None and wish.gpus:
                run.append(wish)
    return tuple(kept[wish.tier, wish.start_s] for wish in wishes)
