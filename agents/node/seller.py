"""Keeps the node's capacity in the books as the policy wants it: posts, tops up, reprices, withdraws."""

import logging
import secrets
import time

from agents.node.clock import VenueClock
from agents.node.errors import VenueRefused
from agents.node.market import OperatorAccount
from agents.node.notices import Notices
from agents.node.policy import Policy
from agents.node.posting import Offer, Plan, Terms, make_plan, open_periods, price_at, price_text, without_small_tail
from schemas.ids import lot_of

GATE_MARGIN_S = 1
POOR_PAUSE_S = 15
log = logging.getLogger("hourbook.agent")


class Seller:
    """One node's stall. What it wants follows from the policy each time; what stands it reads from the venue."""

    def __init__(self, account: OperatorAccount, clock: VenueClock) -> None:
        self._account, self._clock = account, clock
        self.node_id = ""
        self._poor_until = 0.0
        self._notices = Notices()

    async def balance(self, policy: Policy, grade: str, gpus: int) -> None:
        """Brings the books one step nearer to the policy. A refusal is said once, and the step tried again later."""
        product = f"{grade}.{policy.hub}.{policy.tier}"
        try:
            terms = await self._account.terms(product)
            await self._withdraw_others(product)
            if terms is None:
                self._say("product", f"the venue lists no {product}: nothing can be sold")
                return
            self._notices.clear("product")
            await self._carry_out(await self._plan(policy, terms, gpus), terms, policy)
            self._notices.clear("read")
        except VenueRefused as refusal:
            self._say("read", str(refusal))

    async def withdraw_all(self) -> None:
        """Cancels everything that stands for this node."""
        asks, _ = await self._account.book_of(self.node_id)
        for order_id in sorted({ask.order_id for ask in asks}):
            await self._account.withdraw(self.node_id, order_id)

    async def _withdraw_others(self, product: str) -> None:
        """Withdraws what stands under another hub or tier: the policy was edited, and a GPU is sold as it says now."""
        asks, _ = await self._account.book_of(self.node_id)
        for order_id in sorted({ask.order_id for ask in asks if ask.product not in ("", product)}):
            log.info("%s withdraws capacity order %d: the policy sells %s now", self.node_id, order_id, product)
            await self._account.withdraw(self.node_id, order_id)

    async def _plan(self, policy: Policy, terms: Terms, gpus: int) -> Plan:
        asks, sold = await self._account.book_of(self.node_id)
        now_s = self._clock.now_ms() // 1000
        starts = open_periods(terms, now_s, policy.periods_ahead, GATE_MARGIN_S)
        starts = without_small_tail(starts, asks, policy.extend_by)
        prices = {start_s: price_at(start_s, policy.price, terms.tick_micros) for start_s in starts}
        return make_plan(starts, gpus, sold, asks, prices, lot_of(terms.product.partition(".")[0]))

    async def _carry_out(self, plan: Plan, terms: Terms, policy: Policy) -> None:
        for order_id in plan.withdraw:
            log.info("%s withdraws capacity order %d", self.node_id, order_id)
            await self._account.withdraw(self.node_id, order_id)
        for order_id in plan.reprice:
            await self._reprice(order_id, terms, policy)
        for offer in plan.offer:
            if time.monotonic() >= self._poor_until:
                await self._post(offer, terms, policy)

    async def _reprice(self, order_id: int, terms: Terms, policy: Policy) -> None:
        """Gives an order the policy's prices; where the venue refuses, it must not stand at others."""
        try:
            await self._account.reprice(self.node_id, terms, order_id, policy.price)
            log.info("%s reprices capacity order %d", self.node_id, order_id)
            self._notices.clear("reprice")
        except VenueRefused as refusal:
            self._say("reprice", str(refusal))
            await self._account.withdraw(self.node_id, order_id)

    async def _post(self, offer: Offer, terms: Terms, policy: Policy) -> None:
        """Posts an offer; where the money for its bond is short, as many of its first periods as there is money for."""
        periods = (offer.to_s - offer.from_s) // terms.period_s
        while periods:
            part = Offer(offer.from_s, offer.from_s + periods * terms.period_s, offer.gpus)
            name = f"{self.node_id}-{secrets.token_hex(8)}"
            try:
                await self._account.post(self.node_id, terms, part, policy.price, name)
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
            "sold_periods": len(sold),
            "sold_gpu_periods": sum(sold.values()),
        }

    async def undelivered(self) -> list[str]:
        """Returns the contracts that this node has sold and not delivered to their end."""
        return await self._account.undelivered(self.node_id)

    def troubles(self) -> dict[str, str]:
        """Returns what is refused now, by what was tried."""
        return self._notices.about()

    def _say(self, about: str, words: str) -> None:
        self._notices.say(about, f"{self.node_id or 'node'}: {words}")
