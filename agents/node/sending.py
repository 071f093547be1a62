"""Sends the waiting reports, oldest first, and does what the venue's refusals ask for; none of them ends the node."""

import asyncio
import json
import time
from collections.abc import Callable

from pydantic import ValidationError

from agents.node.client import DeliveryClient
from agents.node.errors import VenueRefused, VenueUnreachable
from agents.node.notices import Notices
from agents.node.reports import ReportChain
from schemas.nodes import LeaseStart, LeaseStop, Report, ReportReply

QUEUED_AT_ONCE = 8
BACKOFF_S = (1.0, 60.0)
TRIP_FADES = 0.8
# A barred node hears from refusals alone that a lease is over: it asks often enough that no buyer stays for long.
BARRED_S_MAX = 15.0
GIVEN_UP_AFTER_S = 120.0
BARRING = frozenset({"report_forked", "node_barred", "node_retired"})
PLACELESS = frozenset({"report_gap", "unknown_node"})
NO_SUCH_ROUTE = frozenset({404, 405})

Answer = ReportReply | VenueRefused | VenueUnreachable


def stops_in(refusal: VenueRefused) -> tuple[LeaseStop, ...]:
    """Returns the leases that a refusal says are to be closed; what is no order is passed over."""
    named = refusal.members.get("stop_leases")
    stops = []
    for order in named if isinstance(named, list) else ():
        try:
            stops.append(LeaseStop.model_validate_json(json.dumps(order), extra="ignore"))
        except ValidationError:
            continue
    return tuple(stops)


class ReportSender:
    """Sends what the chain keeps. `barred` is what the venue said when it took nothing of this node any more.

    First the venue says where the chain stands, at each start and whenever a report finds no place. A live report goes
    alone, since its nonce counts only while no other answer has brought a new one; queued ones go several at a time, so
    that a venue that answers slowly is not outrun. `trip_s` is how long answers take.
    """

    def __init__(
        self,
        chain: ReportChain,
        delivery: DeliveryClient,
        notices: Notices,
        follow: Callable[[ReportReply], None],
        open_again: Callable[[tuple[LeaseStart, ...]], None],
        close: Callable[[tuple[LeaseStop, ...]], None],
    ) -> None:
        self._chain, self._delivery, self._notices = chain, delivery, notices
        self._follow, self._open_again, self._close = follow, open_again, close
        self._refused_in_a_row, self._refused_since = 0, 0.0
        self._not_before = float("-inf")
        self.is_placed = False
        self.agent, self.boot_id = "", ""
        self.trip_s = 0.0
        self.barred: VenueRefused | None = None
        self.is_unknown = False

    async def send_waiting(self) -> bool:
        """Sends until nothing waits or the venue does not take more now; returns whether the venue was reached."""
        while self._chain.waiting and time.monotonic() >= self._not_before:
            try:
                if not self.is_placed:
                    await self.find_place()
            except VenueUnreachable as error:
                self._notices.say("reports", f"reports are waiting for the venue: {error}")
                return False
            except VenueRefused as refusal:
                self._back_off(refusal)
                return True
            batch = self._batch()
            answers = await asyncio.gather(*map(self._send, batch))
            for report, answer in zip(batch, answers, strict=True):
                if not self._take(report, answer, report is batch[0]):
                    return not isinstance(answer, VenueUnreachable)
        return True

    async def find_place(self) -> None:
        """Asks where the chain stands, and moves it where neither side has what lies between."""
        for moves in (False, True):
            request = self._chain.request(self.agent, self.boot_id, time.time_ns() // 1_000_000, moves)
            try:
                reply = await self._delivery.place_chain(request)
            except VenueRefused as refusal:
                if refusal.status not in NO_SUCH_ROUTE or refusal.code == "unknown_node":
                    raise
                break  # a venue of before knows no such question: the reports themselves must do
            if self._chain.resume(reply, moves):
                self._open_again(reply.live_leases)
                break
        self.is_placed = True

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

    def _take(self, report: Report, answer: Answer, is_first: bool) -> bool:
        """Does what the answer asks for; returns whether sending goes on."""
        match answer:
            case ReportReply(status="buffered") if is_first:
                # The venue waits for a report before this one, which it acknowledged once and lost.
                self.is_placed = False
                return True
            case ReportReply():
                self._chain.acknowledge(report, answer.next_nonce)
                self._refused_in_a_row, self.barred, self.is_unknown = 0, None, False
                self._notices.clear("reports", "the venue accepts reports again")
                self._follow(answer)
                return True
            case VenueUnreachable():
                self._notices.say("reports", f"reports are waiting for the venue: {answer}")
                return False
            case VenueRefused(code="report_nonce_stale", members={"server_nonce": str(nonce)}):
                self._chain.queue_refused(nonce)
                return not report.queued
            case _:
                self._back_off(answer)
                return False

    def _back_off(self, refusal: VenueRefused) -> None:
        """Keeps the reports and tries again, later and later: the node's leases run on meanwhile, until the venue says
        with its refusal which of them are over.

        A report that the venue refuses for good is given up after a while, for the sake of those behind it.
        """
        first_s, most_s = BACKOFF_S
        now_s = time.monotonic()
        if refusal.code == "too_many_requests" and refusal.wait_s is not None:
            # Nothing is wrong: the venue takes them all, only not at once, and says when to go on.
            self._not_before = now_s + refusal.wait_s
            return
        if not self._refused_in_a_row:
            self._refused_since = now_s
        most_s = BARRED_S_MAX if refusal.code in BARRING else most_s
        self._not_before = now_s + min(first_s * 2**self._refused_in_a_row, most_s)
        self._refused_in_a_row += 1
        if refusal.code in BARRING:
            self.barred, self.is_placed = refusal, False
            self._close(stops_in(refusal))
            self._notices.say(
                "reports", f"the venue has suspended this node, which sells nothing until that ends: {refusal}"
            )
            return
        self._notices.say("reports", f"the venue refused a report, which is sent again: {refusal}")
        if refusal.code in PLACELESS:
            self.is_placed = False
            self.is_unknown = refusal.code == "unknown_node"
        elif not refusal.members.get("retryable") and now_s - self._refused_since >= GIVEN_UP_AFTER_S:
            self._give_up(refusal)

    def _give_up(self, refusal: VenueRefused) -> None:
        first = self._chain.waiting[0]
        self._notices.say("reports", f"report {first.seq} is given up, the venue will never accept it: {refusal}")
        self._chain.drop_first()
        self.is_placed = False
