"""Opens and closes leases by the operator's hook commands, once each, and remembers what they answered."""

import asyncio
import json
import os
import signal
from dataclasses import dataclass

from agents.node.policy import HookRule
from agents.node.processes import LEASE_VARIABLE
from agents.node.state import StateFolder
from schemas.nodes import LeaseStart, LeaseStop

DETAIL_CHARS_MAX = 1000


@dataclass(frozen=True)
class HookOutcome:
    """What a hook did: its endpoint and credential on success, a reason otherwise."""

    ok: bool
    endpoint: str = ""
    credential: str = ""
    detail: str = ""


class LeaseBook:
    """The node's leases by id, each `opening`, `live`, `failed` or `closed`; on disk, so that a restart goes on."""

    def __init__(self, state: StateFolder) -> None:
        self._state = state
        self._leases: dict[str, dict] = state.read("leases") or {}

    def live(self) -> tuple[str, ...]:
        """Returns the ids of the leases whose buyer is in."""
        return tuple(lease_id for lease_id, lease in self._leases.items() if lease["state"] == "live")

    def leased_gpus(self) -> frozenset[str]:
        """Returns the GPUs that belong to a buyer now, or are being handed over."""
        held = (lease["start"]["gpu_uuids"] for lease in self._leases.values() if lease["state"] in {"opening", "live"})
        return frozenset(uuid for uuids in held for uuid in uuids)

    def outcome(self, lease_id: str, action: str) -> HookOutcome | None:
        """Returns what the hook answered, where it has run."""
        answered = self._leases.get(lease_id, {}).get(action + "_outcome")
        return HookOutcome(**answered) if answered else None

    def may_open(self, lease: LeaseStart) -> bool:
        """Tells whether the hook may run: never while another live lease still has one of the GPUs."""
        others = (
            other["start"]["gpu_uuids"]
            for lease_id, other in self._leases.items()
            if lease_id != lease.lease_id and other["state"] in {"opening", "live"}
        )
        return not any(uuid in lease.gpu_uuids for uuids in others for uuid in uuids)

    def begin(self, lease: LeaseStart) -> None:
        """Takes down that the start hook is about to run; a crash after this runs it again."""
        self._leases[lease.lease_id] = {"state": "opening", "start": lease.model_dump(mode="json")}
        self._save()

    def opened(self, lease_id: str, outcome: HookOutcome) -> None:
        """Takes down what the start hook answered."""
        self._leases[lease_id] |= {"state": "live" if outcome.ok else "failed", "start_outcome": vars(outcome)}
        self._save()

    def start_of(self, lease_id: str) -> LeaseStart | None:
        """Returns the lease as it was asked for."""
        lease = self._leases.get(lease_id)
        return LeaseStart.model_validate_json(json.dumps(lease["start"])) if lease else None

    def closed(self, lease_id: str, outcome: HookOutcome) -> None:
        """Takes down what the stop hook answered; the buyer's credential is forgotten."""
        lease = self._leases.setdefault(lease_id, {"start": {"gpu_uuids": []}})
        lease |= {"state": "closed", "stop_outcome": vars(outcome)}
        lease.pop("start_outcome", None)
        self._save()

    def forget_closed_before(self, ends_ms: int) -> None:
        """Drops leases that ended long ago."""
        for lease_id, lease in list(self._leases.items()):
            if lease["state"] in {"closed", "failed"} and lease["start"].get("ends_ms", 0) < ends_ms:
                del self._leases[lease_id]
        self._save()

    def _save(self) -> None:
        self._state.write("leases", self._leases)


async def run_start_hook(rule: HookRule, lease: LeaseStart) -> HookOutcome:
    """Runs the start hook: the lease as JSON on standard input and in the environment, the answer on standard output.

    The last line of its output is `{"endpoint": …, "credential": …}`. Hooks must bear being run twice for one lease.
    """
    outcome, output = await _run(rule.start, rule.timeout_s, lease.canonical(), _environment(lease, "start"))
    if not outcome.ok:
        return outcome
    try:
        answer = json.loads(output.strip().splitlines()[-1])
        return HookOutcome(True, endpoint=str(answer["endpoint"]), credential=str(answer["credential"]))
    except (ValueError, IndexError, KeyError, TypeError):
        return HookOutcome(False, detail="the start hook printed no endpoint and credential")


async def run_stop_hook(rule: HookRule, stop: LeaseStop, start: LeaseStart | None) -> HookOutcome:
    """Runs the stop hook; its output does not matter, its exit status does."""
    environment = _environment(start, "stop") if start else {"HOURBOOK_ACTION": "stop", LEASE_VARIABLE: stop.lease_id}
    outcome, _ = await _run(rule.stop, rule.timeout_s, stop.canonical(), environment)
    return outcome


def _environment(lease: LeaseStart, action: str) -> dict[str, str]:
    return {
        "HOURBOOK_ACTION": action,
        LEASE_VARIABLE: lease.lease_id,
        "HOURBOOK_CONTRACT": lease.contract,
        "HOURBOOK_GPU_UUIDS": ",".join(lease.gpu_uuids),
        "HOURBOOK_STARTS_MS": str(lease.starts_ms),
        "HOURBOOK_ENDS_MS": str(lease.ends_ms),
        "HOURBOOK_ACCESS_REFERENCE": lease.access_reference,
    }


async def _run(command: tuple[str, ...], timeout_s: int, stdin: bytes, variables: dict) -> tuple[HookOutcome, str]:
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=os.environ | variables,
            start_new_session=True,
        )
    except OSError as error:
        return HookOutcome(False, detail=f"the hook could not be started: {error}"), ""
    try:
        output, complaint = await asyncio.wait_for(process.communicate(stdin), timeout_s)
    except TimeoutError:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        return HookOutcome(False, detail=f"the hook took longer than {timeout_s} s"), ""
    if process.returncode:
        reason = complaint.decode(errors="replace").strip()[-DETAIL_CHARS_MAX:]
        return HookOutcome(False, detail=f"exit status {process.returncode}: {reason}"[:DETAIL_CHARS_MAX]), ""
    return HookOutcome(True), output.decode(errors="replace")
