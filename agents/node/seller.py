"""Keeps the node's capacity in the books as the policy wants it: posts, tops up, reprices, withdraws."""

import logging
import secrets
import time

from agents.node.errors import VenueRefused
from agents.node.market import OperatorAccount
from agents.node.policy import Policy
from agents.node.posting import Plan, Terms, make_plan, open_periods, price_at
from schemas.ids import lot_of

GATE_MARGIN_S = 1
log = logging.getLogger("hourbook.agent")


class Seller:
    """One node's stall. What it wants follows from the policy each time; what stands it reads from the venue."""

    def __init__(self, account: OperatorAccount) -> None:
        self._account = account
        self.node_id = ""
        self.server_ahead_ms = 0
        self._refused: dict[tuple, str] = {}

    async def balance(self, policy: Policy, grade: str, gpus: int) -> None:
        """Brings the books one step nearer to the policy; refusals are said once and tried again at the next change."""
        try:
            terms = await self._account.terms(f"{grade}.{policy.hub}.{policy.tier}")
            await self._carry_out(await self._plan(policy, terms, gpus), terms, policy)
        except VenueRefused as refusal:
            self._say_once("read", refusal)

    async def withdraw_all(self) -> None:
        """Cancels everything that stands for this node."""
        asks, _ = await self._account.book_of(self.node_id)
        for order_id in sorted({ask.order_id for ask in asks}):
            await self._account.withdraw(order_id)

    async def _plan(self, policy: Policy, terms: Terms, gpus: int) -> Plan:
        asks, sold = await self._account.book_of(self.node_id)
        now_s = int(time.time() + self.server_ahead_ms / 1000)
        starts = open_periods(terms, now_s, policy.periods_ahead, GATE_MARGIN_S)
        floor = policy.price
        prices = {start_s: price_at(start_s, floor.floor, floor.floor_curve, terms.tick_micros) for start_s in starts}
        return make_plan(starts, gpus, sold, asks, prices, lot_of(terms.product.partition(".")[0]))

    async def _carry_out(self, plan: Plan, terms: Terms, policy: Policy) -> None:
        for order_id in plan.withdraw:
            await self._account.withdraw(order_id)
        prices = {"floor": policy.price.floor, "floor_curve": policy.price.floor_curve}
        for offer in plan.offer:
            name = f"{self.node_id}-{offer.from_s}-{secrets.token_hex(4)}"
            try:
                await self._account.post(self.node_id, terms, offer, prices, name)
            except VenueRefused as refusal:
                self._say_once((offer.from_s, offer.to_s), refusal)

    def _say_once(self, about: object, refusal: VenueRefused) -> None:
        if self._refused.get(about) != refusal.code:
            self._refused[about] = refusal.code
            log.warning("%s: %s", self.node_id, refusal)
