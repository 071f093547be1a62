"""Follows the venue's orders to open and close leases: one hook at a time per lease, answered until it is heard."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable

from agents.node.client import DeliveryClient
from agents.node.errors import VenueRefused, VenueUnreachable
from agents.node.hooks.answers import HookOutcome
from agents.node.hooks.readiness import Readiness
from agents.node.hooks.record import StartRecord
from agents.node.identity import Identity
from agents.node.leases import LeaseBook, run_start_hook, run_stop_hook
from agents.node.notices import Notices
from agents.node.policy import HookRule, PolicyFile
from agents.node.processes import Owners
from agents.node.state import StateFolder
from schemas.nodes import GpuReading, LeaseResult, LeaseStart, LeaseStop

KEPT_MS = 7 * 24 * 3600 * 1000
STOP_RETRY_S_MAX = 600
# After a lease's end the venue wants the next report at once; a GPU that does not answer must not keep a buyer in.
LAST_READING_S = 2.0
# A lease that the venue did not name at the last placing is closed so long after its end: a venue that is rebuilding
# its tables knows it again by then, and says itself when it is over.
LEFT_OPEN_MS = 60_000
READINESS = "hooks"
log = logging.getLogger("hourbook.agent")


class Lessor:
    """The node's side of its leases. The venue repeats what it has no answer to, so a lost answer is sent again.

    Whatever goes wrong with one lease is a line in the log and stays with that lease.
    """

    def __init__(
        self, identity: Identity, book: LeaseBook, policy: PolicyFile, delivery: DeliveryClient, state: StateFolder
    ) -> None:
        self._identity, self.book, self._policy, self._delivery = identity, book, policy, delivery
        self.owners, self._record = Owners(), StartRecord(state)
        self._notices = Notices()
        self._readiness = Readiness(self._notices)
        self.node_id = ""
        self._busy: set[str] = set()
        self._retry_at: dict[str, float] = {}
        self._reopen_at: dict[str, float] = {}
        self._unclean: frozenset[str] = frozenset()
        self._reading = asyncio.Event()
        self._unknown: frozenset[str] = frozenset()

    def follow(self, starts: tuple[LeaseStart, ...], stops: tuple[LeaseStop, ...]) -> list[Coroutine]:
        """Return the work to do for the leases that the venue names, stops first."""
        work = [self._kept_apart(stop.lease_id, self._close, stop) for stop in stops if self._take(stop.lease_id)]
        closing = {stop.lease_id for stop in stops}
        for start in starts:
            if self.book.is_namesake(start) and not self.book.drop_clean(start.lease_id):
                if start.lease_id in self.book.live() and self._take(start.lease_id):
                    work.append(self._kept_apart(start.lease_id, self._stop_again, start.lease_id))
                continue
            known = self.book.outcome(start.lease_id, "start")
            if start.lease_id not in closing and (known or self.book.may_open(start)) and self._take(start.lease_id):
                work.append(self._kept_apart(start.lease_id, self._open, start, known))
        return work

    def due(self) -> list[Coroutine]:
        """Return the work that nobody asks for.

        Stop hooks that failed; leases whose time passed while they opened, or that failed to open; leases whose buyer
        was shut out, since the machine restarted or what a ready hook had left running has died. And a look, from
        time to time, whether a ready hook has what it needs.
        """
        work, rule = self._reopenings(), self._policy.current.hooks
        if self._readiness.is_due(rule) and self._take(READINESS):
            work.append(self._kept_apart(READINESS, self._readiness.look, rule))
        for lease_id, failures in self.book.stop_failures().items():
            now = time.monotonic()
            pause_s = min(self._policy.current.hooks.stop_retry_s * 2 ** (failures - 1), STOP_RETRY_S_MAX)
            if now >= self._retry_at.setdefault(lease_id, now + pause_s) and self._take(lease_id):
                del self._retry_at[lease_id]
                work.append(self._kept_apart(lease_id, self._stop_again, lease_id))
        now_ms = self._delivery.clock.now_ms()
        left_open = self.book.left_open(self._unknown, now_ms - LEFT_OPEN_MS)
        for lease_id in (*self.book.overdue(now_ms), *self.book.unstopped(), *left_open):
            if self._take(lease_id):
                work.append(self._kept_apart(lease_id, self._stop_again, lease_id))
        return work

    def note_live(self, lease_ids: Iterable[str]) -> None:
        """Take down which leases the venue says are live; of what it lost, as by a restored backup, it names no end."""
        self._unknown = frozenset(self.book.live()) - frozenset(lease_ids)

    def _reopenings(self) -> list[Coroutine]:
        """Ready hooks bear it to be run again; what a command of the operator's own makes of it only he knows."""
        rule, now, work = self._policy.current.hooks, time.monotonic(), []
        if rule.kind == "command":
            return work
        for lease_id in self.book.shut(self._delivery.clock.now_ms(), self.owners.table):
            if now >= self._reopen_at.get(lease_id, now) and self._take(lease_id):
                self._reopen_at[lease_id] = now + rule.stop_retry_s
                work.append(self._kept_apart(lease_id, self._reopen, lease_id, rule))
        return work

    async def close_all(self) -> dict[str, str]:
        """Close every lease that is open here, for a machine whose agent does not run any more.

        The venue is told, where it can be reached. Returns of each lease `closed`, or why its stop hook failed.
        """
        closed = {}
        for lease_id in self.book.unended():
            outcome = await self._run_stop(LeaseStop(lease_id=lease_id, reason="admin"))
            await self._answer(lease_id, "stop", outcome)
            closed[lease_id] = "closed" if outcome.ok else outcome.detail
        return closed

    def observe(self, readings: tuple[GpuReading, ...]) -> tuple[GpuReading, ...]:
        """Return the readings with every process's owner, and unclean GPUs as not healthy: nobody may get those."""
        leases = self.book.live_leases()
        self._reading.set()
        self._reading = asyncio.Event()
        labelled = tuple(
            reading.model_copy(
                update={"processes": tuple(self.owners.label(process, leases) for process in reading.processes)}
            )
            if reading.processes
            else reading
            for reading in readings
        )
        self.book.sweep(labelled, self._policy.current.hooks.empty_memory_mib_max)
        unclean = self.book.unclean_gpus()
        for uuid in sorted(unclean - self._unclean):
            log.warning(
                "GPU %s is not offered: the end of its last lease failed, or it has not been seen empty since", uuid
            )
        for uuid in sorted(self._unclean - unclean):
            log.info("GPU %s is clean again", uuid)
        self._unclean = unclean
        return tuple(
            reading.model_copy(update={"healthy": False}) if reading.uuid in unclean else reading
            for reading in labelled
        )

    def may_offer(self) -> bool:
        """Tell whether the hooks can be trusted to open what would be sold."""
        return not self.why_not()

    def why_not(self) -> str:
        """Say why the hooks cannot be trusted to open what would be sold; "" where they can."""
        rule = self._policy.current.hooks
        if not self._record.may_offer(rule):
            return "the start hook has failed too often in a row: it is tried again later"
        return "" if self._readiness.allows(rule) else "the hook lacks what it needs, or was not looked at yet"

    def troubles(self) -> dict[str, str]:
        """Return what keeps hours from being offered, by subject."""
        return self._notices.about()

    def _take(self, lease_id: str) -> bool:
        if lease_id in self._busy:
            return False
        self._busy.add(lease_id)
        return True

    async def _kept_apart(self, lease_id: str, work: Callable[..., Awaitable[None]], *about: object) -> None:
        try:
            await work(*about)
        except Exception as error:
            # The other leases and the node's reports go on, whatever this is; the venue asks again.
            log.error("lease %s: %s: %s", lease_id, type(error).__name__, error)
        finally:
            self._busy.discard(lease_id)

    async def _open(self, lease: LeaseStart, known: HookOutcome | None) -> None:
        outcome = known
        if outcome is None:
            rule = self._policy.current.hooks
            self.book.begin(lease)
            outcome = await run_start_hook(rule, lease, self.owners.table, self.node_id)
            self.book.opened(lease.lease_id, outcome)
            self._record.note(outcome.ok, rule, outcome.detail)
            if outcome.ok:
                log.info("lease %s opened: %s", lease.lease_id, outcome.endpoint)
                if not outcome.evidence.is_named:
                    log.warning(UNNAMED, lease.lease_id)
            else:
                log.warning("lease %s failed to open: %s", lease.lease_id, outcome.detail)
        await self._answer(lease.lease_id, "start", outcome)

    async def _reopen(self, lease_id: str, rule: HookRule) -> None:
        before = self.book.outcome(lease_id, "start")
        log.warning("lease %s: its buyer cannot log in because the login service ended: it is opened again", lease_id)
        outcome = await run_start_hook(rule, self.book.start_of(lease_id), self.owners.table, self.node_id)
        if not outcome.ok:
            log.warning("lease %s: it could not be opened again and is tried again: %s", lease_id, outcome.detail)
            return
        self.book.reopened(lease_id, outcome)
        if (outcome.endpoint, outcome.host_key) == (before.endpoint, before.host_key):
            log.info("lease %s is open again: %s", lease_id, outcome.endpoint)
        else:
            log.warning("lease %s is open again, but not where the venue says: %s", lease_id, outcome.endpoint)

    async def _close(self, stop: LeaseStop) -> None:
        outcome = self.book.outcome(stop.lease_id, "stop")
        if outcome is None:
            await self._measure_to_the_end(stop)
            outcome = await self._run_stop(stop)
        await self._answer(stop.lease_id, "stop", outcome)
        self.book.forget_closed_before(_wall_ms() - KEPT_MS)

    async def _measure_to_the_end(self, stop: LeaseStop) -> None:
        """Wait for one more reading: the report's window in which a lease ends is judged by what is there then.

        A renter's process that outlives the lease by a moment would make it somebody else's.
        """
        if stop.reason == "ended" and stop.lease_id in self.book.live():
            try:
                async with asyncio.timeout(LAST_READING_S):
                    await self._reading.wait()
            except TimeoutError:
                log.warning("lease %s ends without a last reading", stop.lease_id)

    async def _stop_again(self, lease_id: str) -> None:
        await self._run_stop(LeaseStop(lease_id=lease_id, reason="failed"))

    async def _run_stop(self, stop: LeaseStop) -> HookOutcome:
        rule, start = self._policy.current.hooks, self.book.start_of(stop.lease_id)
        outcome = await run_stop_hook(rule, stop, start, self.node_id)
        self.book.closed(stop.lease_id, outcome)
        if outcome.ok:
            log.info("lease %s closed (%s)", stop.lease_id, stop.reason)
        else:
            log.warning("lease %s: the stop hook failed and is tried again: %s", stop.lease_id, outcome.detail)
        return outcome

    async def _answer(self, lease_id: str, action: str, outcome: HookOutcome) -> None:
        result = self._identity.sign(
            LeaseResult,
            agent=self.node_id,
            lease_id=lease_id,
            action=action,
            ok=outcome.ok,
            endpoint=outcome.endpoint,
            credential=outcome.credential,
            detail=outcome.detail,
            wall_ms=_wall_ms(),
            host_key=outcome.host_key,
        )
        try:
            await self._delivery.answer_lease(result)
        except (VenueUnreachable, VenueRefused) as error:
            log.warning("the answer for lease %s was not accepted: %s", lease_id, error)


UNNAMED = (
    "lease %s: the start hook named no evidence (container_id, cgroup, uid, pid) and left no process: "
    "every process on its GPUs will count as somebody else's"
)


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
