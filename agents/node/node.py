"""One node at work: reports, challenges and leases with delivery, and its capacity kept in the books."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass

from agents.node.client import DeliveryClient
from agents.node.enrol import AGENT_VERSION, Enrolment, enrol, remembered
from agents.node.errors import AgentError, ChainBroken, VenueRefused, VenueUnreachable
from agents.node.identity import Identity, boot_id
from agents.node.inventory import Telemetry, absent
from agents.node.lessor import Lessor
from agents.node.policy import IdleWatch, PolicyFile
from agents.node.proving import Prover
from agents.node.reports import ReportChain
from agents.node.seller import Seller
from agents.node.state import StateFolder
from schemas.nodes import Challenge, GpuReading, ReportReply

RETRY_S = 1.0
REPORTS_MISSED_MAX = 3
log = logging.getLogger("hourbook.agent")


@dataclass(frozen=True)
class Parts:
    """What a node is put together from; a fleet shares some of it between its nodes."""

    identity: Identity
    telemetry: Telemetry
    policy: PolicyFile
    state: StateFolder
    delivery: DeliveryClient
    prover: Prover
    lessor: Lessor
    seller: Seller
    token: str | None


class Node:
    """Runs until it is stopped. Nothing is offered before a challenge was passed and the last report acknowledged."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._chain = ReportChain(parts.identity, parts.state)
        self._idle = IdleWatch()
        self._boot_id = boot_id()
        self._enrolment: Enrolment | None = None
        self._readings: tuple[GpuReading, ...] = ()
        self._window_start_ms = _mono_ms()
        self._interval_s, self._usual_interval_s = RETRY_S, 0.0
        self._acknowledged_at: float | None = None
        self._venue_sells = False
        self._proving: set[str] = set()
        self._group: asyncio.TaskGroup | None = None
        self._tasks: set[asyncio.Task] = set()
        self._sending: asyncio.Task | None = None
        self._stop = asyncio.Event()

    @property
    def reports_waiting(self) -> int:
        """How many reports the venue has not acknowledged."""
        return len(self._chain.waiting)

    def stop(self) -> None:
        """Asks the node to withdraw its capacity and end."""
        self._stop.set()

    async def run(self) -> None:
        """Enrols where needed, works until `stop`, and takes the capacity out of the books, however it ends.

        Raises AgentError for what the operator must mend.
        """
        self._enrolment = await self._enrol()
        if self._enrolment is None:
            return
        self._parts.lessor.node_id = self._parts.seller.node_id = self._enrolment.node_id
        self._interval_s = self._enrolment.report_interval_ms / 1000
        try:
            async with asyncio.TaskGroup() as self._group:
                self._group.create_task(self._repeat(self._report))
                self._group.create_task(self._repeat(self._trade))
                self._group.create_task(self._end_tasks())
                if self._enrolment.challenge:
                    self._prove(self._enrolment.challenge)
        except ExceptionGroup as failures:
            expected, bugs = failures.split(AgentError)
            if bugs:
                raise
            raise expected.exceptions[0] from None
        finally:
            await self._leave()

    async def _end_tasks(self) -> None:
        await self._stop.wait()
        for task in self._tasks:
            task.cancel()

    async def _enrol(self) -> Enrolment | None:
        known = remembered(self._parts.state)
        if known and self._chain.nonce:
            return known
        parts = self._parts
        while not self._stop.is_set():
            try:
                policy = parts.policy.current
                made = await enrol(parts.identity, parts.telemetry, policy, parts.token, parts.delivery, parts.state)
            except VenueUnreachable as error:
                log.warning("enrolment waits: %s", error)
                await self._pause(RETRY_S)
            else:
                self._chain.renew_nonce(made.nonce)
                return made
        return None

    async def _repeat(self, step: Callable[[], Awaitable[None]]) -> None:
        while not self._stop.is_set():
            started = time.monotonic()
            await step()
            await self._pause(max(self._interval_s - (time.monotonic() - started), 0))

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return

    # -- reports -------------------------------------------------------------------------------------------------------

    async def _report(self) -> None:
        found = {reading.uuid: reading for reading in await asyncio.to_thread(self._parts.telemetry.read)}
        self._readings = tuple(found.get(uuid) or absent(uuid) for uuid in self._enrolment.gpu_uuids)
        window_end_ms = _mono_ms()
        leased = self._parts.lessor.book.leased_gpus()
        self._idle.observe(self._readings, leased, self._parts.policy.current.idle, window_end_ms)
        driver = self._parts.telemetry.driver
        self._chain.append(
            agent=self._enrolment.node_id,
            boot_id=self._boot_id,
            mono_start_ms=self._window_start_ms,
            mono_end_ms=window_end_ms,
            wall_ms=time.time_ns() // 1_000_000,
            lease_ids=self._parts.lessor.book.live(),
            agent_version=AGENT_VERSION,
            driver_version=driver.version,
            kernel_driver_version=driver.kernel_version,
            library_sha256=driver.library_sha256,
            nvml_simulated=driver.simulated,
            gpus=self._readings,
        )
        self._window_start_ms = window_end_ms
        if self._sending is None or self._sending.done():
            self._sending = self._spawn(self._send_waiting())
        if self._sending is not None:
            # Measuring goes on while the venue is slow to answer: what nobody measured cannot be reported later.
            await asyncio.wait([self._sending], timeout=max(self._interval_s, self._usual_interval_s))

    async def _send_waiting(self) -> None:
        while self._chain.waiting and not self._stop.is_set():
            report = self._chain.waiting[0]
            try:
                reply = await self._parts.delivery.report(report)
            except VenueUnreachable as error:
                log.warning("%d report(s) wait on disk: %s", len(self._chain.waiting), error)
                # A venue that is away is in no hurry any more, and has every report to take when it is back.
                self._interval_s = max(self._interval_s, self._usual_interval_s)
                return
            except VenueRefused as refusal:
                if not self._survive(refusal, report.queued):
                    return
            else:
                self._chain.acknowledge(report, reply.next_nonce)
                self._follow(reply)

    def _survive(self, refusal: VenueRefused, queued: bool) -> bool:
        """Returns whether sending goes on after a refusal. Raises ChainBroken where it never can."""
        if refusal.code == "report_nonce_stale":
            self._chain.queue_refused(refusal.members["server_nonce"])
            return not queued
        if refusal.members.get("retryable"):
            log.warning("report refused for now: %s", refusal)
            return False
        raise ChainBroken(f"the venue does not take this node's reports any more: {refusal}")

    def _follow(self, reply: ReportReply) -> None:
        self._acknowledged_at = time.monotonic()
        self._interval_s = reply.report_interval_ms / 1000
        self._usual_interval_s = max(self._usual_interval_s, self._interval_s)
        self._parts.seller.server_ahead_ms = reply.server_time_ms - time.time_ns() // 1_000_000
        sells = reply.hint.sell and reply.node_state == "active"
        if sells != self._venue_sells:
            log.info("node is %s: %s", reply.node_state, reply.hint.reason or ("may sell" if sells else "may not sell"))
        self._venue_sells = sells
        for challenge in reply.challenges:
            self._prove(challenge)
        for task in self._parts.lessor.follow(reply.start_leases, reply.stop_leases):
            self._spawn(task)

    # -- challenges ----------------------------------------------------------------------------------------------------

    def _prove(self, challenge: Challenge) -> None:
        if challenge.challenge_id not in self._proving:
            self._proving.add(challenge.challenge_id)
            self._spawn(self._prove_once(challenge))

    async def _prove_once(self, challenge: Challenge) -> None:
        if not self._readings:
            self._readings = await asyncio.to_thread(self._parts.telemetry.read)
        present = frozenset(reading.uuid for reading in self._readings if reading.present)
        try:
            await self._parts.prover.prove(challenge, self._enrolment.node_id, present)
        except VenueUnreachable as error:
            log.warning("challenge %s is tried again: %s", challenge.challenge_id, error)
            self._proving.discard(challenge.challenge_id)
        except VenueRefused as refusal:
            log.warning("challenge %s: %s", challenge.challenge_id, refusal)

    # -- selling -------------------------------------------------------------------------------------------------------

    async def _trade(self) -> None:
        policy = self._parts.policy.refresh()
        gpus = self._idle.sellable(policy, len(self._enrolment.gpu_uuids), _mono_ms()) if self._may_sell() else 0
        try:
            await self._parts.seller.balance(policy, self._enrolment.grade, gpus)
        except VenueUnreachable as error:
            log.warning("capacity waits: %s", error)

    def _may_sell(self) -> bool:
        if self._acknowledged_at is None:
            return False
        silence_s = time.monotonic() - self._acknowledged_at
        return self._venue_sells and silence_s <= REPORTS_MISSED_MAX * self._interval_s

    async def _leave(self) -> None:
        try:
            await self._parts.seller.withdraw_all()
        except (VenueUnreachable, VenueRefused) as error:
            log.warning("capacity could not be withdrawn, the venue pulls it when reports stay out: %s", error)

    def _spawn(self, work: Coroutine) -> asyncio.Task | None:
        if self._stop.is_set():
            work.close()
            return None
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _mono_ms() -> int:
    return time.monotonic_ns() // 1_000_000
