"""Keeps the node's capacity in the books as the policy wants it: posts, tops up, reprices, withdraws."""

import logging
import secrets
import time
from dataclasses import dataclass

from agents.node.clock import VenueClock
from agents.node.errors import VenueRefused
from agents.node.idleness.source import Span
from agents.node.market import OperatorAccount
from agents.node.market_prices import MarketPrices
from agents.node.notices import Notices
from agents.node.offering import Capacity, Wish, pricer, wishes_for
from agents.node.offers import OfferRule
from agents.node.pace import Pace
from agents.node.policy import Policy
from agents.node.posting import (
    Ask,
    Offer,
    Plan,
    Reprice,
    Terms,
    Wanted,
    make_plan,
    open_periods,
    price_text,
    without_small_tail,
)
from schemas.ids import lot_of

GATE_MARGIN_S = 1
POOR_PAUSE_S = 15
log = logging.getLogger("hourbook.agent")


@dataclass(frozen=True)
class Draft:
    """What should stand, and the steps to it, by tier; `terms` are those of each tier that the venue lists."""

    terms: dict[str, Terms]
    wishes: tuple[Wish, ...] = ()
    plans: dict[str, Plan] | None = None
    elsewhere: tuple[int, ...] = ()
    unlisted: tuple[str, ...] = ()


class Seller:
    """One node's stall. What it wants follows from the policy each time; what stands it reads from the venue."""

    def __init__(self, account: OperatorAccount, clock: VenueClock) -> None:
        self._account, self._clock = account, clock
        self._prices = MarketPrices(account.gateway)
        self._pace = Pace()
        self.node_id = ""
        self.sold: tuple[Span, ...] = ()
        self._poor_until = 0.0
        self._notices = Notices()

    async def balance(self, policy: Policy, grade: str, capacity: Capacity) -> None:
        """Brings the books one step nearer to the policy. A refusal is said once, and the step tried again later."""
        try:
            draft = await self.draft(policy, grade, capacity)
            for order_id in draft.elsewhere:
                log.info("%s withdraws capacity order %d: the policy sells other products now", self.node_id, order_id)
                await self._account.withdraw(self.node_id, order_id)
            if draft.unlisted:
                names, rest = ", ".join(draft.unlisted), "only the other tiers" if draft.terms else "nothing"
                self._say("product", f"the venue lists no {names}: {rest} can be sold")
            else:
                self._notices.clear("product")
            await self._carry_out(draft, policy)
            self._notices.clear("read")
        except VenueRefused as refusal:
            self._say("read", str(refusal))

    async def draft(self, policy: Policy, grade: str, capacity: Capacity) -> Draft:
        """Returns what should stand now, and the steps from what does; changes nothing."""
        listed, unlisted = await self._terms(policy, grade)
        offers = tuple(offer for offer in policy.tiers if offer.tier in listed)
        asks, sold = await self._account.book_of(self.node_id)
        products = {terms.product for terms in listed.values()}
        elsewhere = tuple(sorted({ask.order_id for ask in asks if ask.product not in ("", *products)}))
        if not offers:
            return Draft({}, elsewhere=elsewhere, unlisted=unlisted)
        period_s = next(iter(listed.values())).period_s
        self.sold = tuple(Span(start_s, start_s + period_s) for start_s in sorted(sold.all))
        now_s = self._clock.now_ms() // 1000
        open_now = _open_in_all(tuple(listed.values()), now_s, policy.periods_ahead)
        starts = without_small_tail(open_now, asks, policy.extend_by)
        ticks = {tier: terms.tick_micros for tier, terms in listed.items()}
        looks = {}
        for offer in offers:
            product, rule = listed[offer.tier].product, offer.price or policy.price
            looks[offer.tier] = await self._prices.look(product, rule, starts, ticks[offer.tier], now_s)
        price = pricer(policy, starts, now_s, ticks, looks, sold, capacity.whole)
        lot = lot_of(grade)
        wishes = wishes_for(policy, offers, starts, capacity, sold, lot, price)
        by_tier = {}
        for offer in offers:
            wanted = {wish.start_s: wish.wanted for wish in wishes if wish.tier == offer.tier}
            own = tuple(ask for ask in asks if ask.product in ("", listed[offer.tier].product))
            # What stands further ahead than the policy looks now was posted under another one.
            nothing = Wanted(0, 1, 0, 0)
            wanted |= {ask.start_s: nothing for ask in own if starts and ask.start_s > max(open_now[-1], starts[-1])}
            rule = offer.price or policy.price
            by_tier[offer.tier] = (wanted, own, rule.pace.ticks_min * ticks[offer.tier])
        return Draft(listed, wishes, _plans(by_tier, starts.step, lot), elsewhere, unlisted)

    async def withdraw_all(self) -> None:
        """Cancels everything that stands for this node."""
        asks, _ = await self._account.book_of(self.node_id)
        for order_id in sorted({ask.order_id for ask in asks}):
            await self._account.withdraw(self.node_id, order_id)

    async def _terms(self, policy: Policy, grade: str) -> tuple[dict[str, Terms], tuple[str, ...]]:
        """Returns the terms of the tiers that the venue lists in periods of one length, and the other products."""
        listed: dict[str, Terms] = {}
        unlisted = []
        for offer in policy.tiers:
            product = f"{grade}.{policy.hub}.{offer.tier}"
            terms = await self._account.terms(product)
            if terms is None:
                unlisted.append(product)
            elif any(each.period_s != terms.period_s for each in listed.values()):
                unlisted.append(f"{product} in the periods of the first tier")
            else:
                listed[offer.tier] = terms
        return listed, tuple(unlisted)

    async def _carry_out(self, draft: Draft, policy: Policy) -> None:
        plans = (draft.plans or {}).items()
        for _, plan in plans:
            for order_id in plan.withdraw:
                log.info("%s withdraws capacity order %d", self.node_id, order_id)
                await self._account.withdraw(self.node_id, order_id)
        for tier, plan in plans:
            terms, offer = draft.terms[tier], next(each for each in policy.tiers if each.tier == tier)
            await self._reprice_within_pace(plan.reprice, terms, offer, policy)
        for tier, plan in plans:
            for offer in plan.offer:
                if time.monotonic() >= self._poor_until:
                    await self._post(offer, draft.terms[tier], policy)

    async def _reprice_within_pace(
        self, reprices: tuple[Reprice, ...], terms: Terms, offer: OfferRule, policy: Policy
    ) -> None:
        most = (offer.price or policy.price).pace.reprices_per_period
        waiting = 0
        for each in reprices:
            if self._pace.allows(terms.product, most, terms.period_s, time.monotonic()) or each.is_urgent:
                await self._reprice(each)
            else:
                waiting += 1
        if waiting:
            words = f"{waiting} orders of {terms.product} wait for their new price: {most} were repriced in this period"
            self._say(f"pace of {terms.product}", words)
        else:
            self._notices.clear(f"pace of {terms.product}")

    async def _reprice(self, reprice: Reprice) -> None:
        """Gives an order the policy's prices; where the venue refuses, it must not stand at others."""
        try:
            await self._account.reprice(reprice)
            log.info("%s reprices capacity order %d", self.node_id, reprice.order_id)
            self._notices.clear("reprice")
        except VenueRefused as refusal:
            self._say("reprice", str(refusal))
            await self._account.withdraw(self.node_id, reprice.order_id)

    async def _post(self, offer: Offer, terms: Terms, policy: Policy) -> None:
        """Posts an offer; where the money for its bond is short, as many of its first periods as there is money for."""
        periods = (offer.to_s - offer.from_s) // terms.period_s
        while periods:
            to_s = offer.from_s + periods * terms.period_s
            prices = {start_s: micros for start_s, micros in offer.prices.items() if start_s < to_s}
            part = Offer(offer.from_s, to_s, offer.gpus, prices)
            name = f"{self.node_id}-{secrets.token_hex(8)}"
            try:
                await self._account.post(self.node_id, terms, part, name, policy.ttl_s, policy.split)
                log.info("%s offers %d GPUs of %s for %d periods", self.node_id, part.gpus, terms.product, periods)
                if part == offer:
                    self._notices.clear("post")
                return
            except VenueRefused as refusal:
                self._say("post", str(refusal))
                if refusal.code != "insufficient_funds":
                    return
                self._poor_until = time.monotonic() + POOR_PAUSE_S
                periods //= 2

    def standing(self) -> dict:
        """Returns what is known to stand in the books for this node, and what is sold of it before the gate."""
        asks, sold = self._account.known_book_of(self.node_id)
        prices = [ask.price_micros for ask in asks]
        return {
            "asks": len(asks),
            "periods": len({ask.start_s for ask in asks}),
            "gpus": max((ask.gpus for ask in asks), default=0),
            "price_min": price_text(min(prices)) if prices else None,
            "price_max": price_text(max(prices)) if prices else None,
            "last_start_s": max((ask.start_s for ask in asks), default=None),
            "sold_periods": len(sold.all),
            "sold_gpu_periods": sum(sold.all.values()),
        }

    async def undelivered(self) -> list[str]:
        """Returns the contracts that this node has sold and not delivered to their end."""
        return await self._account.undelivered(self.node_id)

    def troubles(self) -> dict[str, str]:
        """Returns what is refused now, by what was tried."""
        return self._notices.about() | self._prices.notices.about()

    def _say(self, about: str, words: str) -> None:
        self._notices.say(about, f"{self.node_id or 'node'}: {words}")


def _open_in_all(terms: tuple[Terms, ...], now_s: int, periods_ahead: int) -> range:
    """Returns the periods that can be sold in every one of the products."""
    ranges = [open_periods(each, now_s, periods_ahead, GATE_MARGIN_S) for each in terms]
    return range(max(each.start for each in ranges), min(each.stop for each in ranges), ranges[0].step)


def _plans(by_tier: dict[str, tuple[dict[int, Wanted], tuple[Ask, ...], int]], period_s: int, lot: int) -> dict:
    """Plans each tier; where one is about to give up GPUs in a period, no other tier offers there before it has."""
    first = {tier: make_plan(wanted, period_s, own, lot, least) for tier, (wanted, own, least) in by_tier.items()}
    withdrawn = {order_id for plan in first.values() for order_id in plan.withdraw}
    if not withdrawn:
        return first
    changing = frozenset(ask.start_s for _, own, _ in by_tier.values() for ask in own if ask.order_id in withdrawn)
    return {
        tier: make_plan(wanted, period_s, own, lot, least, changing) for tier, (wanted, own, least) in by_tier.items()
    }
