"""Sends the waiting reports, oldest first, and does what the venue's refusals ask for; none of them ends the node."""

import asyncio
import time
from collections.abc import Callable

from agents.node.client import DeliveryClient
from agents.node.errors import VenueRefused, VenueUnreachable
from agents.node.notices import Notices
from agents.node.reports import ReportChain
from schemas.nodes import Report, ReportReply

QUEUED_AT_ONCE = 8
BACKOFF_S = (1.0, 60.0)
TRIP_FADES = 0.8
BARRING = frozenset({"report_forked", "node_barred"})

Answer = ReportReply | VenueRefused | VenueUnreachable


class ReportSender:
    """Sends what the chain keeps. `barred` is what the venue said when it took nothing of this node any more.

    A live report goes alone, since its nonce counts only while no other answer has brought a new one; queued ones go
    several at a time, so that a venue that answers slowly is not outrun. `trip_s` is how long answers take.
    """

    def __init__(
        self, chain: ReportChain, delivery: DeliveryClient, notices: Notices, follow: Callable[[ReportReply], None]
    ) -> None:
        self._chain, self._delivery, self._notices, self._follow = chain, delivery, notices, follow
        self._refused_in_a_row = 0
        self._not_before = float("-inf")
        self.trip_s = 0.0
        self.barred: VenueRefused | None = None

    async def send_waiting(self) -> bool:
        """Sends until nothing waits or the venue does not take more now; returns whether the venue was reached."""
        reached = True
        while self._chain.waiting and time.monotonic() >= self._not_before:
            batch = self._batch()
            answers = await asyncio.gather(*map(self._send, batch))
            for report, answer in zip(batch, answers, strict=True):
                if not self._take(report, answer):
                    return not isinstance(answer, VenueUnreachable)
        return reached

    def _batch(self) -> list[Report]:
        first, *later = self._chain.waiting[:QUEUED_AT_ONCE]
        return [first, *later] if first.queued else [first]

    async def _send(self, report: Report) -> Answer:
        began = time.monotonic()
        try:
            reply = await self._delivery.report(report)
        except (VenueRefused, VenueUnreachable) as error:
            return error
        self.trip_s = max(time.monotonic() - began, TRIP_FADES * self.trip_s)
        return reply

    def _take(self, report: Report, answer: Answer) -> bool:
        """Does what the answer asks for; returns whether sending goes on."""
        match answer:
            case ReportReply():
                self._chain.acknowledge(report, answer.next_nonce)
                self._forget_refusals()
                self._follow(answer)
                return True
            case VenueUnreachable():
                self._notices.say("reports", f"reports wait for the venue: {answer}")
                return False
            case VenueRefused(code="report_nonce_stale", members={"server_nonce": str(nonce)}):
                self._chain.queue_refused(nonce)
                return not report.queued
            case _:
                self._back_off(answer)
                return False

    def _forget_refusals(self) -> None:
        self._refused_in_a_row, self.barred = 0, None
        self._notices.clear("reports", "the venue takes reports again")

    def _back_off(self, refusal: VenueRefused) -> None:
        """Keeps the report and tries again, later and later: the node's leases run on meanwhile."""
        first_s, most_s = BACKOFF_S
        self._not_before = time.monotonic() + min(first_s * 2**self._refused_in_a_row, most_s)
        self._refused_in_a_row += 1
        if refusal.code in BARRING:
            self.barred = refusal
            self._notices.say(
                "reports", f"the venue bars this node, which sells nothing until a person has looked: {refusal}"
            )
        else:
            self._notices.say("reports", f"the venue refuses a report, which is tried again: {refusal}")
