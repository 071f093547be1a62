"""The node's leases: what was asked, what the hooks answered, and which GPUs no buyer may get yet; kept on disk."""

import json
import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import ValidationError

from agents.node.hooks.answers import UNREADABLE, HookOutcome, answer_of, end_of
from agents.node.hooks.run import run_hook
from agents.node.policy import HookRule
from agents.node.processes import LEASE_VARIABLE, LiveLease, ProcessTable
from agents.node.state import StateFolder
from schemas.complaints import pattern_of
from schemas.ids import Identifier
from schemas.nodes import GpuReading, LeaseStart, LeaseStop

State = Literal["opening", "live", "failed", "closed"]
HOLDING = ("opening", "live")
NODE_VARIABLE = "HOURBOOK_NODE"
LEASE_FORM = re.compile(pattern_of(Identifier))
log = logging.getLogger("hourbook.agent")


@dataclass
class Lease:
    """One lease on this node.

    `start` is None where only its end is known. After the end `unswept` names the GPUs that were not seen
    empty since; `stop_failures` counts stop hooks that failed in a row.
    """

    state: State
    start: LeaseStart | None = None
    start_outcome: HookOutcome | None = None
    stop_outcome: HookOutcome | None = None
    stop_failures: int = 0
    gpu_uuids: tuple[str, ...] = field(default=())
    unswept: tuple[str, ...] = ()

    def stored(self) -> dict[str, Any]:
        """Return the lease as JSON can keep it."""
        outcomes = {"start_outcome": self.start_outcome, "stop_outcome": self.stop_outcome}
        kept = {name: outcome.stored() for name, outcome in outcomes.items() if outcome is not None}
        start = None if self.start is None else self.start.model_dump(mode="json")
        plain = {"state": self.state, "stop_failures": self.stop_failures, "unswept": list(self.unswept)}
        return plain | {"start": start, "gpu_uuids": list(self.gpu_uuids)} | kept

    @classmethod
    def restored(cls, document: dict[str, Any]) -> "Lease":
        """Read what `stored` gave, also that of older agents. Raises ValueError for what was no lease."""
        if document.get("state") not in ("opening", "live", "failed", "closed"):
            raise ValueError("no state")
        start, uuids = document.get("start"), document.get("gpu_uuids")
        try:
            lease = LeaseStart.model_validate_json(json.dumps(start))
        except ValidationError:
            lease, uuids = None, uuids or (start.get("gpu_uuids") if isinstance(start, dict) else None)
        outcomes = {
            name: HookOutcome.restored(document[name])
            for name in ("start_outcome", "stop_outcome")
            if isinstance(document.get(name), dict)
        }
        named = lease.gpu_uuids if lease else tuple(uuid for uuid in uuids or () if isinstance(uuid, str))
        restored = cls(document["state"], lease, gpu_uuids=named, **outcomes)
        failures = document.get("stop_failures", 0)
        restored.stop_failures = failures if isinstance(failures, int) else 0
        unswept = document.get("unswept")
        if not isinstance(unswept, list):
            unswept = [] if document.get("swept", True) is True else restored.gpu_uuids
        restored.unswept = tuple(uuid for uuid in restored.gpu_uuids if uuid in unswept)
        if restored.start_outcome is not None and restored.start_outcome.detail == UNREADABLE:
            restored.state = "failed" if restored.state == "live" else restored.state
        return restored


class LeaseBook:
    """The node's leases by id, each `opening`, `live`, `failed` or `closed`; on disk, so that a restart goes on."""

    def __init__(self, state: StateFolder) -> None:
        self._state = state
        self._leases: dict[str, Lease] = {}
        for lease_id, document in (state.read("leases") or {}).items():
            try:
                if not LEASE_FORM.fullmatch(lease_id):
                    raise ValueError("that is not a lease's id")
                self._leases[lease_id] = Lease.restored(document)
            except (ValueError, AttributeError, TypeError) as error:
                log.warning("lease %s in the state folder cannot be read and is forgotten: %s", lease_id, error)

    def live(self) -> tuple[str, ...]:
        """Return the ids of the leases whose buyer is in."""
        return tuple(lease_id for lease_id, lease in self._leases.items() if lease.state == "live")

    def live_leases(self) -> tuple[LiveLease, ...]:
        """Return the leases whose buyer is in, with what tells his processes."""
        return tuple(
            LiveLease(lease_id, lease.start_outcome.evidence)
            for lease_id, lease in self._leases.items()
            if lease.state == "live" and lease.start_outcome is not None
        )

    def leased_gpus(self) -> frozenset[str]:
        """Return the GPUs that belong to a buyer now, or are being handed over."""
        return self._gpus(lambda lease: lease.state in HOLDING)

    def leases_by_gpu(self) -> dict[str, str]:
        """Return the lease that each GPU belongs to now."""
        return {
            uuid: lease_id
            for lease_id, lease in self._leases.items()
            if lease.state in HOLDING
            for uuid in lease.gpu_uuids
        }

    def unfinished(self) -> tuple[str, ...]:
        """Return the leases that are open, or whose end has not succeeded yet."""
        return tuple(
            lease_id for lease_id, lease in self._leases.items() if lease.state in HOLDING or lease.stop_failures
        )

    def unclean_gpus(self) -> frozenset[str]:
        """Return the GPUs that no buyer may get yet: their last one's end failed, or they were not seen empty since."""
        return frozenset(uuid for lease in self._leases.values() for uuid in _unclean(lease)) - self.leased_gpus()

    def outcome(self, lease_id: str, action: str) -> HookOutcome | None:
        """Return what the hook answered, where it has run."""
        lease = self._leases.get(lease_id)
        return None if lease is None else (lease.start_outcome if action == "start" else lease.stop_outcome)

    def may_open(self, lease: LeaseStart) -> bool:
        """Tell whether the start hook may run: never while another has one of the GPUs, or has not left it clean."""
        others = (other for lease_id, other in self._leases.items() if lease_id != lease.lease_id)
        taken = (other.gpu_uuids if other.state in HOLDING else _unclean(other) for other in others)
        return not any(uuid in lease.gpu_uuids for uuids in taken for uuid in uuids)

    def begin(self, lease: LeaseStart) -> None:
        """Take down that the start hook is about to run; a crash after this runs it again."""
        self._leases[lease.lease_id] = Lease("opening", lease, gpu_uuids=lease.gpu_uuids)
        self._save()

    def opened(self, lease_id: str, outcome: HookOutcome) -> None:
        """Take down what the start hook answered."""
        lease = self._leases[lease_id]
        lease.state, lease.start_outcome = "live" if outcome.ok else "failed", outcome
        self._save()

    def reopened(self, lease_id: str, outcome: HookOutcome) -> None:
        """Take down what the start hook answered when it ran again for a lease whose buyer should be in."""
        self._leases[lease_id].start_outcome = outcome
        self._save()

    def shut(self, now_ms: int, table: ProcessTable) -> tuple[str, ...]:
        """Return the live leases whose buyer cannot get in any more: what the hook left running for him has ended."""
        return tuple(
            lease_id
            for lease_id, lease in self._leases.items()
            if lease.state == "live" and lease.start is not None and lease.start.ends_ms > now_ms
            if lease.start_outcome is not None and _has_ended(lease.start_outcome, table)
        )

    def unstopped(self) -> tuple[str, ...]:
        """Return the leases that failed to open and whose stop hook has not run: what it left behind has to go."""
        return tuple(
            lease_id
            for lease_id, lease in self._leases.items()
            if lease.state == "failed" and lease.stop_outcome is None
        )

    def unended(self) -> tuple[str, ...]:
        """Return the leases of which something may still run here: their stop hook has not run to its end."""
        return tuple(
            lease_id
            for lease_id, lease in self._leases.items()
            if lease.state in HOLDING or lease.stop_failures or (lease.state == "failed" and lease.stop_outcome is None)
        )

    def start_of(self, lease_id: str) -> LeaseStart | None:
        """Return the lease as it was asked for."""
        lease = self._leases.get(lease_id)
        return None if lease is None else lease.start

    def closed(self, lease_id: str, outcome: HookOutcome) -> None:
        """Take down what the stop hook answered; the buyer's credential is forgotten.

        Why a lease failed to open stays: the venue asks until it has heard it.
        """
        lease = self._leases.setdefault(lease_id, Lease("closed"))
        if lease.start_outcome is not None and lease.start_outcome.ok:
            lease.start_outcome = None
        lease.state, lease.stop_outcome = "closed", outcome
        lease.stop_failures = 0 if outcome.ok else lease.stop_failures + 1
        lease.unswept = lease.gpu_uuids
        self._save()

    def stop_failures(self) -> dict[str, int]:
        """Return the ended leases whose stop hook has to run again, with how often in a row it has failed."""
        return {lease_id: lease.stop_failures for lease_id, lease in self._leases.items() if lease.stop_failures}

    def overdue(self, now_ms: int) -> tuple[str, ...]:
        """Return the leases that were never opened and whose time is over: nobody will ask to close them."""
        return tuple(
            lease_id
            for lease_id, lease in self._leases.items()
            if lease.state == "opening" and (lease.start is None or lease.start.ends_ms <= now_ms)
        )

    def left_open(self, lease_ids: Iterable[str], ends_ms: int) -> tuple[str, ...]:
        """Return which of these leases are live although their time was over before that moment."""
        known = ((lease_id, self._leases.get(lease_id)) for lease_id in lease_ids)
        return tuple(
            lease_id
            for lease_id, lease in known
            if lease is not None and lease.state == "live" and (lease.start is None or lease.start.ends_ms < ends_ms)
        )

    def is_namesake(self, lease: LeaseStart) -> bool:
        """Tell whether the book has another lease under this one's id: a restored venue gives its numbers again."""
        known = self.start_of(lease.lease_id)
        return known is not None and (known.contract, known.starts_ms) != (lease.contract, lease.starts_ms)

    def drop_clean(self, lease_id: str) -> bool:
        """Forget a lease that has ended and left its GPUs clean; tell whether it was one."""
        lease = self._leases[lease_id]
        if lease.state in HOLDING or _unclean(lease):
            return False
        del self._leases[lease_id]
        return True

    def sweep(self, readings: tuple[GpuReading, ...], memory_mib_max: int) -> None:
        """Take down which ended leases' GPUs are seen empty; one that is gone from the node needs no sweeping."""
        by_uuid = {reading.uuid: reading for reading in readings}
        before = {lease_id: lease.unswept for lease_id, lease in self._leases.items() if lease.unswept}
        for lease_id, unswept in before.items():
            self._leases[lease_id].unswept = tuple(
                uuid for uuid in unswept if uuid in by_uuid and not _is_empty(by_uuid[uuid], memory_mib_max)
            )
        if any(self._leases[lease_id].unswept != unswept for lease_id, unswept in before.items()):
            self._save()

    def forget_closed_before(self, ends_ms: int) -> None:
        """Drop leases that ended long ago and left their GPUs clean."""
        for lease_id, lease in list(self._leases.items()):
            ended_ms = lease.start.ends_ms if lease.start else 0
            if lease.state in ("closed", "failed") and ended_ms < ends_ms and not _unclean(lease):
                del self._leases[lease_id]
        self._save()

    def _gpus(self, wanted: Callable[[Lease], bool]) -> frozenset[str]:
        return frozenset(uuid for lease in self._leases.values() if wanted(lease) for uuid in lease.gpu_uuids)

    def _save(self) -> None:
        self._state.write("leases", {lease_id: lease.stored() for lease_id, lease in self._leases.items()})


def _unclean(lease: Lease) -> tuple[str, ...]:
    """Return the GPUs of an ended lease that nobody may get yet: each waits for itself, not for its sisters."""
    if lease.state == "failed":
        return lease.gpu_uuids  # its start hook may have left something behind: the stop hook comes first
    if lease.state != "closed":
        return ()
    return lease.gpu_uuids if lease.stop_failures else lease.unswept


def _has_ended(outcome: HookOutcome, table: ProcessTable) -> bool:
    ancestors = outcome.evidence.ancestors
    return bool(ancestors) and not any(table.is_still(pid, started) for pid, started in ancestors)


def _is_empty(reading: GpuReading, memory_mib_max: int) -> bool:
    """Graphics and monitoring may be there; a GPU that does not answer proves nothing."""
    is_quiet = all(process.whose == "other" for process in reading.processes)
    return reading.present and is_quiet and (reading.memory_used_mib or 0) <= memory_mib_max


async def run_start_hook(
    rule: HookRule, lease: LeaseStart, table: ProcessTable | None = None, node_id: str = ""
) -> HookOutcome:
    """Run the start hook: the lease as JSON on standard input and in the environment, the answer on standard output.

    The last line of its output is the answer, see `HookAnswer`. Hooks must bear being run twice for one lease.
    """
    table = table or ProcessTable()
    end = await run_hook(rule.start, rule.timeout_s, lease.canonical(), _environment(lease, "start", node_id), table)
    outcome = end_of(end)
    return answer_of(end, table) if outcome.ok else outcome


async def run_stop_hook(rule: HookRule, stop: LeaseStop, start: LeaseStart | None, node_id: str = "") -> HookOutcome:
    """Run the stop hook; its output does not matter, its exit status does."""
    least = {"HOURBOOK_ACTION": "stop", LEASE_VARIABLE: stop.lease_id, NODE_VARIABLE: node_id}
    environment = _environment(start, "stop", node_id) if start else least
    return end_of(await run_hook(rule.stop, rule.timeout_s, stop.canonical(), environment, ProcessTable()))


def _environment(lease: LeaseStart, action: str, node_id: str) -> dict[str, str]:
    return {
        "HOURBOOK_ACTION": action,
        NODE_VARIABLE: node_id,
        LEASE_VARIABLE: lease.lease_id,
        "HOURBOOK_CONTRACT": lease.contract,
        "HOURBOOK_GPU_UUIDS": ",".join(lease.gpu_uuids),
        "HOURBOOK_STARTS_MS": str(lease.starts_ms),
        "HOURBOOK_ENDS_MS": str(lease.ends_ms),
        "HOURBOOK_ACCESS_REFERENCE": lease.access_reference.replace("\0", ""),
    }
