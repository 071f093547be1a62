"""One node at work: reports, challenges and leases with delivery, and its capacity kept in the books."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from agents.node.client import DeliveryClient
from agents.node.clock import mono_ms
from agents.node.draining import Draining
from agents.node.enrol import AGENT_VERSION, Enrolment, differences, enrol, recalled, remembered
from agents.node.errors import ProofFailed, VenueRefused, VenueUnreachable
from agents.node.hub import show_hub
from agents.node.identity import Identity, boot_id
from agents.node.idleness.watch import SourceWatch
from agents.node.inventory import Telemetry, absent
from agents.node.kept import KeptReports
from agents.node.lessor import Lessor
from agents.node.loops import Loops
from agents.node.notices import Notices
from agents.node.offering import Capacity
from agents.node.policy import IdleWatch, PolicyFile, never_sells
from agents.node.processes import in_bounds
from agents.node.proof.own_load import OwnLoad
from agents.node.proving import Prover
from agents.node.reports import ReportChain
from agents.node.seller import Seller
from agents.node.sending import NO_SUCH_ROUTE, ReportSender
from agents.node.standing import gpu_rows
from agents.node.state import StateFolder
from schemas.nodes import Challenge, ChallengeWait, GpuReading, LeaseStart, LeaseStop, ReportReply, node_id_of
from schemas.versions import is_older

RETRY_S = 1.0
REPORTS_MISSED_MAX = 3
SILENCE_S_MIN = 2.0
# A slow venue is waited for as long as a report's nonce stays good; beyond that reports queue.
PATIENCE_INTERVALS = 2.5
PATIENCE_TRIPS = 1.25
LEAVE_TIMEOUT_S = 12.0
CHALLENGE_TRIES_MAX = 3
TOO_MANY = 429
OLD_VENUE_S = 600.0
HELD_FROM_S = 0.5
ANSWERS_AT_ONCE_MAX = 16
HUB_INTERVAL_S = 12 * 3600.0
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
    leave_timeout_s: float = LEAVE_TIMEOUT_S
    kept: KeptReports | None = None


class Node:
    """Runs until it is stopped. Nothing is offered before a challenge was passed and the last report acknowledged."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._notices = Notices()
        self._loops = Loops(self._notices)
        self._chain = ReportChain(parts.identity, parts.state, parts.kept)
        heed = (self._follow, self._open_again, self._close)
        self._sender = ReportSender(self._chain, parts.delivery, self._notices, *heed)
        self._register: Callable[[], Awaitable[None]] | None = None
        self._idle = IdleWatch()
        self._source = SourceWatch(parts.state)
        self._own_load = OwnLoad()
        self._boot_id = boot_id()
        self._enrolment: Enrolment | None = None
        self._is_enrolled = False
        self._readings: tuple[GpuReading, ...] = ()
        self._window_start_ms = mono_ms()
        self._interval_s, self._usual_interval_s = RETRY_S, 0.0
        self._acknowledged_at: float | None = None
        self._venue_sells = False
        self._venue_said: tuple[str, str] | None = None
        self._gpus_chosen = parts.policy.current.gpus
        self._draining = Draining(parts.state, parts.seller, parts.lessor.book, lambda: self.reports_waiting)
        self._started_ms, self._measured_at = time.time_ns() // 1_000_000, time.monotonic()
        self.status: dict = {}
        self._echo, self._answers_at_once = "", 0
        self._proving: set[str] = set()
        self._tries: dict[str, int] = {}
        self._sending: asyncio.Task | None = None

    @property
    def node_id(self) -> str:
        """The node's id, which follows from its key."""
        return node_id_of(self._parts.identity.public_key)

    @property
    def reports_waiting(self) -> int:
        """How many reports the venue has not acknowledged."""
        return len(self._chain.waiting)

    @property
    def faults(self) -> dict[str, int]:
        """How often each of the node's loops and pieces of work failed in a way that no rule foresaw."""
        return dict(self._loops.faults)

    def registers_by(self, register: Callable[[], Awaitable[None]]) -> None:
        """Has the node get its own key at the gateway, once it is enrolled and before it begins."""
        self._register = register

    def stop(self) -> None:
        """Asks the node to withdraw its capacity and end."""
        self._loops.stop()

    async def run(self) -> None:
        """Enrols where needed, works until `stop`, and takes the capacity out of the books, however it ends.

        Raises AgentError for what the operator must mend before the node can begin.
        """
        self._enrolment = await self._enrol()
        if self._enrolment is None:
            return
        self._parts.lessor.node_id = self._parts.seller.node_id = self._enrolment.node_id
        for line in differences(self._enrolment, tuple(gpu.uuid for gpu in self._parts.telemetry.inventory())):
            log.warning("%s", line)
        self._interval_s = self._enrolment.report_interval_ms / 1000
        try:
            self._loops.start("reporting", self._report, self._pace_s)
            self._loops.start("selling", self._trade, self._pace_s)
            self._loops.start("waiting for challenges", self._await_challenges, lambda: 0.0)
            self._loops.start("the hub's beacon", self._show_hub, lambda: HUB_INTERVAL_S)
            if self._enrolment.challenge:
                self._prove(self._enrolment.challenge)
            await self._loops.run()
        finally:
            await self._leave()

    def _pace_s(self) -> float:
        return self._interval_s

    async def _enrol(self) -> Enrolment | None:
        """Finds out who the node is: from the disk, from the venue by its key, or by enrolling."""
        while not self._loops.stopping.is_set():
            try:
                return await self._enrol_once()
            except VenueUnreachable as error:
                self._notices.say("enrolment", f"enrolment waits: {error}")
            except VenueRefused as refusal:
                # A node that was enrolled has leases to look after: it waits, whatever it is refused for.
                if not self._is_enrolled and not refusal.members.get("retryable") and refusal.status != TOO_MANY:
                    raise
                self._notices.say("enrolment", f"enrolment waits: {refusal}")
            await self._loops.pause(RETRY_S)
        return None

    async def _enrol_once(self) -> Enrolment:
        parts = self._parts
        known = remembered(parts.state)
        if known is not None and known.node_id != self.node_id:
            log.warning("the state folder's enrolment is of %s, its key of %s", known.node_id, self.node_id)
            parts.state.set_aside(parts.state.path / "node.json")
            known = None
        self._is_enrolled = known is not None
        if known is None and not parts.identity.is_new:
            known = await recalled(parts.identity, parts.delivery, parts.state)
        if known is None:
            known = await self._enrol_anew()
        self._sender.agent, self._sender.boot_id = known.node_id, self._boot_id
        if self._chain.nonce is None:
            await self._sender.find_place()
        if self._register is not None:
            await self._register()
        return known

    async def _enrol_anew(self) -> Enrolment:
        parts = self._parts
        made = await enrol(
            parts.identity, parts.telemetry, parts.policy.current, parts.token, parts.delivery, parts.state
        )
        self._chain.renew_nonce(made.nonce)
        self._sender.is_placed = self._chain.seq == 0
        return made

    # -- reports -------------------------------------------------------------------------------------------------------

    async def _report(self) -> None:
        found = {reading.uuid: reading for reading in await asyncio.to_thread(self._parts.telemetry.read)}
        readings = tuple(found.get(uuid) or absent(uuid) for uuid in self._enrolment.gpu_uuids)
        self._readings = self._parts.lessor.observe(readings)
        for task in self._parts.lessor.due():
            self._loops.spawn("a lease", task)
        window_end_ms = mono_ms()
        leased = self._parts.lessor.book.leased_gpus()
        policy = self._parts.policy.current
        own_load = self._own_load.take()
        judged = self._idle.observe(self._readings, leased, policy.idle, window_end_ms, policy.whole_node, own_load)
        self._readings = in_bounds(judged)
        self._measured_at = time.monotonic()
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
            self._sending = self._loops.spawn("sending reports", self._send_waiting())
        if self._sending is not None:
            # Measuring goes on while the venue is slow to answer: what nobody measured cannot be reported later.
            slow_s = min(PATIENCE_TRIPS * self._sender.trip_s, PATIENCE_INTERVALS * self._usual_interval_s)
            await asyncio.wait([self._sending], timeout=max(self._interval_s, self._usual_interval_s, slow_s))

    async def _send_waiting(self) -> None:
        if not await self._sender.send_waiting():
            # A venue that is away is in no hurry any more, and has every report to take when it is back.
            self._interval_s = max(self._interval_s, self._usual_interval_s)
        if self._sender.barred is not None:
            self._venue_sells = False
        if self._sender.is_unknown and self._parts.token:
            try:
                await self._enrol_anew()
                self._sender.is_unknown = False
            except VenueRefused as refusal:
                words = f"the venue no longer knows this node: give it a fresh enrolment token and restart: {refusal}"
                self._notices.say("enrolment", words)

    def _follow(self, reply: ReportReply) -> None:
        self._acknowledged_at = time.monotonic()
        self._interval_s = reply.report_interval_ms / 1000
        self._usual_interval_s = max(self._usual_interval_s, self._interval_s)
        if is_older(AGENT_VERSION, reply.hint.agent_at_least):
            words = f"this is {AGENT_VERSION}, the venue needs {reply.hint.agent_at_least} or later: upgrade the agent"
            self._notices.say("version", f"{words}; its state folder stays as is")
        else:
            self._notices.clear("version")
        sells = reply.hint.sell and reply.node_state == "active"
        said = (reply.node_state, reply.hint.reason or ("may sell" if sells else "may not sell"))
        if said != self._venue_said:
            log.info("node is %s: %s", *said)
        self._venue_sells, self._venue_said = sells, said
        asked = {challenge.challenge_id for challenge in reply.challenges}
        self._tries = {name: tries for name, tries in self._tries.items() if name in asked | self._proving}
        for challenge in reply.challenges:
            self._prove(challenge)
        for task in self._parts.lessor.follow(reply.start_leases, reply.stop_leases):
            self._loops.spawn("a lease", task)

    def _open_again(self, live: tuple[LeaseStart, ...]) -> None:
        """Opens leases whose buyer should be in and that this node knows nothing of: its memory was lost."""
        self._parts.lessor.note_live(lease.lease_id for lease in live)
        known = self._parts.lessor.book.leased_gpus()
        forgotten = tuple(lease for lease in live if known.isdisjoint(lease.gpu_uuids))
        for task in self._parts.lessor.follow(forgotten, ()):
            self._loops.spawn("a lease", task)

    def _close(self, stops: tuple[LeaseStop, ...]) -> None:
        """Closes leases that the venue names while it takes no report of this node."""
        for task in self._parts.lessor.follow((), stops):
            self._loops.spawn("a lease", task)

    async def _show_hub(self) -> None:
        hub = self._enrolment.hub or self._parts.policy.current.hub
        await show_hub(self._parts.identity, self._parts.delivery, hub)

    # -- challenges ----------------------------------------------------------------------------------------------------

    async def _await_challenges(self) -> None:
        """Asks for challenges, and asks again as soon as there was an answer: how soon is the round trip."""
        began = time.monotonic()
        wait = {"agent": self._enrolment.node_id, "echo": self._echo, "wall_ms": time.time_ns() // 1_000_000}
        try:
            offer = await self._parts.delivery.next_challenges(self._parts.identity.sign(ChallengeWait, **wait))
        except VenueRefused as refusal:
            if refusal.status not in NO_SUCH_ROUTE:
                raise
            await self._loops.pause(OLD_VENUE_S)  # reports bring challenges all the same
            return
        self._echo, self._answers_at_once = offer.echo, self._answers_at_once + 1
        if time.monotonic() - began > HELD_FROM_S:
            self._answers_at_once = 0
        for challenge in offer.challenges:
            self._prove(challenge)
        if self._answers_at_once > ANSWERS_AT_ONCE_MAX:
            await self._loops.pause(RETRY_S)  # a venue that holds nothing is not asked without end

    def _prove(self, challenge: Challenge) -> None:
        name = challenge.challenge_id
        if name not in self._proving and self._tries.get(name, 0) < CHALLENGE_TRIES_MAX:
            self._proving.add(name)
            self._tries[name] = self._tries.get(name, 0) + 1
            self._loops.spawn("a challenge", self._prove_once(challenge))

    async def _prove_once(self, challenge: Challenge) -> None:
        name = challenge.challenge_id
        try:
            if not self._readings:
                self._readings = await asyncio.to_thread(self._parts.telemetry.read)
            present = frozenset(reading.uuid for reading in self._readings if reading.present)
            with self._own_load.of(challenge.gpu_uuids):
                await self._parts.prover.prove(challenge, self._enrolment.node_id, present)
            self._tries[name] = CHALLENGE_TRIES_MAX
        except VenueUnreachable as error:
            log.warning("challenge %s is tried again: %s", name, error)
            self._tries[name] = 0
        except VenueRefused as refusal:
            log.warning("challenge %s: %s", name, refusal)
            self._tries[name] = CHALLENGE_TRIES_MAX
        except ProofFailed as error:
            log.error("challenge %s cannot be answered: %s", name, error)
        finally:
            self._proving.discard(name)

    # -- selling -------------------------------------------------------------------------------------------------------

    async def _trade(self) -> None:
        parts = self._parts
        policy = parts.policy.refresh()
        enrolled = self._enrolment
        hindrance = never_sells(policy, enrolled.grade, enrolled.hub, len(enrolled.gpu_uuids))
        if hindrance:
            self._notices.say("policy", hindrance)
        else:
            self._notices.clear("policy", "the policy fits this node again")
        if policy.gpus != self._gpus_chosen:
            self._notices.say("gpus", "the policy's gpus were edited: stop the agent, `gpus --update`, start it again")
        else:
            self._notices.clear("gpus")
        is_draining = self._draining.is_asked()
        reason = "it drains" if is_draining else hindrance or self._why_not()
        whole = len(enrolled.gpu_uuids)
        look, silence = await self._source.follow(policy.idle, parts.seller.sold, int(time.time()))
        reason = reason or silence
        gpus = 0 if reason else self._idle.sellable(policy, whole, mono_ms())
        if not reason and not gpus and policy.whole_node:
            reason = "the GPUs are sold together, and not all of them are fit"
        self._write_status(gpus, reason)
        await parts.seller.balance(policy, enrolled.grade, Capacity(gpus, whole, reason, look))
        if is_draining and await self._draining.is_over():
            log.info("drained: nothing is left to deliver, the agent ends")
            self._write_status(0, "it has drained")
            self.stop()

    def _write_status(self, gpus: int, reason: str) -> None:
        """Takes down how the node stands, for `hourbook-agent status` and `/metrics`."""
        at, parts = self._acknowledged_at, self._parts
        policy, leases = parts.policy.current, parts.lessor.book.leases_by_gpu()
        self.status = {
            "written_ms": time.time_ns() // 1_000_000,
            "started_ms": self._started_ms,
            "agent_version": AGENT_VERSION,
            "report_interval_s": self._interval_s,
            "measured_s_ago": round(time.monotonic() - self._measured_at),
            "offers_gpus": gpus,
            "why_not": reason,
            "gpus": gpu_rows(self._readings, self._idle, leases, policy, reason, mono_ms()),
            "standing": parts.seller.standing(),
            "draining": list(self._draining.left) if self._draining.is_asked() else None,
            "venue_lets_sell": self._venue_sells,
            "reports_waiting": self.reports_waiting,
            "acknowledged_s_ago": None if at is None else round(time.monotonic() - at),
            "troubles": self._notices.about()
            | parts.seller.troubles()
            | self._source.notices.about()
            | parts.lessor.troubles()
            | parts.state.notices.about(),
            "faults": self.faults,
        }
        self._parts.state.write("status", self.status, lasting=False)

    def _why_not(self) -> str:
        """Says what keeps the whole node from offering now; "" where nothing does."""
        if self._acknowledged_at is None:
            return "the venue has acknowledged no report yet"
        silence_s = time.monotonic() - self._acknowledged_at
        missed_s = REPORTS_MISSED_MAX * self._interval_s + self._sender.trip_s
        if not self._venue_sells:
            return "the venue: node is {}: {}".format(*self._venue_said) if self._venue_said else "the venue forbids it"
        if silence_s > max(missed_s, SILENCE_S_MIN):
            return f"the venue has acknowledged nothing for {silence_s:.0f} s"
        return self._parts.lessor.why_not()

    async def _leave(self) -> None:
        try:
            async with asyncio.timeout(self._parts.leave_timeout_s):
                await self._parts.seller.withdraw_all()
        except (VenueUnreachable, VenueRefused, TimeoutError) as error:
            words = str(error) or f"no end within {self._parts.leave_timeout_s:g} s"
            log.warning("capacity could not be withdrawn, the venue cancels it when reports stop: %s", words)
        except Exception:
            log.exception("capacity could not be withdrawn, the venue cancels it when reports stop")
