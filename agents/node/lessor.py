"""Follows the venue's orders to open and close leases: one hook at a time per lease, answered until it is heard."""

import logging
import time
from collections.abc import Coroutine

from agents.node.client import DeliveryClient
from agents.node.errors import VenueRefused, VenueUnreachable
from agents.node.identity import Identity
from agents.node.leases import HookOutcome, LeaseBook, run_start_hook, run_stop_hook
from agents.node.policy import PolicyFile
from schemas.nodes import LeaseResult, LeaseStart, LeaseStop

KEPT_MS = 7 * 24 * 3600 * 1000
log = logging.getLogger("hourbook.agent")


class Lessor:
    """The node's side of its leases. The venue repeats what it has no answer to, so a lost answer is sent again."""

    def __init__(self, identity: Identity, book: LeaseBook, policy: PolicyFile, delivery: DeliveryClient) -> None:
        self._identity, self.book, self._policy, self._delivery = identity, book, policy, delivery
        self.node_id = ""
        self._busy: set[str] = set()

    def follow(self, starts: tuple[LeaseStart, ...], stops: tuple[LeaseStop, ...]) -> list[Coroutine]:
        """Returns the work to do for the leases that the venue names, stops first."""
        work = [self._close(stop) for stop in stops if self._take(stop.lease_id)]
        closing = {stop.lease_id for stop in stops}
        for start in starts:
            known = self.book.outcome(start.lease_id, "start")
            if start.lease_id not in closing and (known or self.book.may_open(start)) and self._take(start.lease_id):
                work.append(self._open(start, known))
        return work

    def _take(self, lease_id: str) -> bool:
        if lease_id in self._busy:
            return False
        self._busy.add(lease_id)
        return True

    async def _open(self, lease: LeaseStart, known: HookOutcome | None) -> None:
        try:
            outcome = known
            if outcome is None:
                self.book.begin(lease)
                outcome = await run_start_hook(self._policy.current.hooks, lease)
                self.book.opened(lease.lease_id, outcome)
                log.info("lease %s opened: %s", lease.lease_id, outcome.detail or outcome.endpoint)
            await self._answer(lease.lease_id, "start", outcome)
        finally:
            self._busy.discard(lease.lease_id)

    async def _close(self, stop: LeaseStop) -> None:
        try:
            outcome = self.book.outcome(stop.lease_id, "stop")
            if outcome is None:
                outcome = await run_stop_hook(self._policy.current.hooks, stop, self.book.start_of(stop.lease_id))
                self.book.closed(stop.lease_id, outcome)
                log.info("lease %s closed (%s): %s", stop.lease_id, stop.reason, outcome.detail or "done")
            await self._answer(stop.lease_id, "stop", outcome)
            self.book.forget_closed_before(_wall_ms() - KEPT_MS)
        finally:
            self._busy.discard(stop.lease_id)

    async def _answer(self, lease_id: str, action: str, outcome: HookOutcome) -> None:
        result = self._identity.sign(
            LeaseResult, agent=self.node_id, lease_id=lease_id, action=action, wall_ms=_wall_ms(), **vars(outcome)
        )
        try:
            await self._delivery.answer_lease(result)
        except (VenueUnreachable, VenueRefused) as error:
            log.warning("the answer on lease %s was not taken: %s", lease_id, error)


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
