"""Whose a process on a GPU is: decided by container, cgroup, user and ancestor, never by what it says of itself."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from agents.node.proof.own_load import own_pids
from schemas.nodes import GpuProcess, GpuReading

LEASE_VARIABLE = "HOURBOOK_LEASE_ID"
RUN_VARIABLE = "HOURBOOK_HOOK_RUN"
ANCESTORS_MAX = 64
# Programs that look at GPUs or share them out. Anybody may name his program so: only a small one passes.
MONITORS = frozenset(
    {
        "dcgm-exporter",
        "nv-hostengine",
        "nvidia-cuda-mps-control",
        "nvidia-cuda-mps-server",
        "nvidia-persistenced",
        "nvidia-smi",
        "nvtop",
    }
)
MONITOR_MEMORY_MIB_MAX = 512
PROCESSES_PER_REPORT = 3072


@dataclass(frozen=True)
class Stat:
    """What /proc says of a process; `started` is in clock ticks since the boot, and tells a reused number apart."""

    pid: int
    parent: int
    group: int
    session: int
    started: int
    has_ended: bool = False


class ProcessTable:
    """The processes of this machine as /proc shows them; what cannot be read is None or empty, never an error."""

    def __init__(self, folder: Path = Path("/proc")) -> None:
        self._folder = folder

    def pids(self) -> Iterator[int]:
        """Yield every process's number."""
        try:
            names = os.listdir(self._folder)
        except OSError:
            return
        yield from (int(name) for name in names if name.isascii() and name.isdigit())

    def stat(self, pid: int) -> Stat | None:
        """Return a process's parent, group, session and start; None where there is none, or it is hidden."""
        try:
            fields = self._read(pid, "stat").rpartition(b")")[2].split()
            return Stat(pid, int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19]), fields[0] in (b"Z", b"X"))
        except (OSError, ValueError, IndexError):
            return None

    def lives(self, pid: int) -> bool:
        """Tell whether a process still runs; one that only waits for its parent to notice does not."""
        stat = self.stat(pid)
        return stat is not None and not stat.has_ended

    def is_still(self, pid: int, started: int) -> bool:
        """Tell whether the process that began at a clock tick runs, and not another that got its number."""
        stat = self.stat(pid)
        return stat is not None and not stat.has_ended and stat.started == started

    def children(self, pid: int) -> tuple[int, ...]:
        """Return a process's children, where the kernel lists them."""
        found: list[int] = []
        try:
            for thread in os.listdir(self._folder / str(pid) / "task"):
                found += map(int, self._read(pid, f"task/{thread}/children").split())
        except (OSError, ValueError):
            return tuple(found)
        return tuple(found)

    def cgroups(self, pid: int) -> tuple[str, ...]:
        """Return the cgroup paths of a process, of v1's hierarchies and of v2's one."""
        try:
            lines = self._read(pid, "cgroup").decode(errors="replace").splitlines()
        except OSError:
            return ()
        return tuple(line.split(":", 2)[2] for line in lines if line.count(":") >= 2)

    def user(self, pid: int) -> int | None:
        """Return the real user id."""
        try:
            status = self._read(pid, "status")
        except OSError:
            return None
        found = re.search(rb"^Uid:\s+(\d+)", status, re.MULTILINE)
        return int(found.group(1)) if found else None

    def program(self, pid: int) -> str:
        """Return the name of the program's file; "" where it may not be seen."""
        try:
            return os.path.basename(os.readlink(self._folder / str(pid) / "exe"))
        except OSError:
            return ""

    def variable(self, pid: int, name: str) -> str | None:
        """Return a variable of a process's environment, "" where it is not set; None where it may not be looked at."""
        try:
            environment = self._read(pid, "environ")
        except OSError:
            return None
        for entry in environment.split(b"\0"):
            key, _, value = entry.partition(b"=")
            if key.decode(errors="replace") == name:
                return value.decode(errors="replace")
        return ""

    def lineage(self, pid: int) -> list[Stat]:
        """Return the process and its ancestors, nearest first."""
        line: list[Stat] = []
        while pid > 0 and len(line) < ANCESTORS_MAX and (stat := self.stat(pid)) is not None:
            line.append(stat)
            pid = stat.parent
        return line

    def _read(self, pid: int, name: str) -> bytes:
        return (self._folder / str(pid) / name).read_bytes()


@dataclass(frozen=True)
class Evidence:
    """What ties processes to a lease: the hook's answer, and the processes that the hook itself started.

    `ancestors` are (pid, start time in clock ticks), so that a number that was given out again proves nothing. `keeper`
    is the process that stands above all that the hook left running, and that its orphans come to.
    """

    container_id: str | None = None
    cgroup: str | None = None
    uid: int | None = None
    ancestors: tuple[tuple[int, int], ...] = ()
    keeper: tuple[int, int] | None = None

    @property
    def is_named(self) -> bool:
        """Tell whether there is anything that a process can be held against."""
        return any((self.container_id, self.cgroup, self.uid, self.ancestors, self.keeper))


@dataclass(frozen=True)
class LiveLease:
    """A lease whose buyer is in, as far as telling processes apart needs it."""

    lease_id: str
    evidence: Evidence


class Owners:
    """Says whose each process on a GPU is."""

    def __init__(self, table: ProcessTable | None = None) -> None:
        self.table = table or ProcessTable()

    def label(self, process: GpuProcess, leases: Sequence[LiveLease]) -> GpuProcess:
        """Return the process with its owner, its lease, and how that is known."""
        line = self.table.lineage(process.pid)
        if not line:
            return _labelled(process, "unknown")
        is_readable = True
        for kind, matches in MATCHES.items():
            for lease in leases:
                found = matches(self.table, line, lease.evidence)
                if found:
                    return _labelled(process, "lease", lease.lease_id, kind)
                is_readable = is_readable and found is not None
        if process.kind in ("graphics", "mps") or process.pid in own_pids() or self._is_monitor(process):
            return _labelled(process, "other")
        return _labelled(process, "foreign" if is_readable else "unknown")

    def _is_monitor(self, process: GpuProcess) -> bool:
        is_small = process.memory_mib <= MONITOR_MEMORY_MIB_MAX
        return is_small and self.table.program(process.pid) in MONITORS


def in_bounds(readings: tuple[GpuReading, ...]) -> tuple[GpuReading, ...]:
    """Return the readings with as many processes as a report can hold, shared out evenly between the GPUs.

    Of too many those stay that decide: one of every owner, then the largest. The venue takes no report of 900 kB.
    """
    at_most = PROCESSES_PER_REPORT // max(len(readings), 1)
    return tuple(
        reading.model_copy(update={"processes": _most_telling(reading.processes, at_most)})
        if len(reading.processes) > at_most
        else reading
        for reading in readings
    )


def _most_telling(processes: tuple[GpuProcess, ...], at_most: int) -> tuple[GpuProcess, ...]:
    by_size = sorted(processes, key=lambda process: process.memory_mib, reverse=True)
    largest: dict[object, GpuProcess] = {}
    for process in by_size:
        largest.setdefault((process.whose, process.lease_id), process)
    shown = {id(process) for process in largest.values()}
    others = (process for process in by_size if id(process) not in shown)
    return (*largest.values(), *others)[:at_most]


def _labelled(process: GpuProcess, owner: str, lease_id: str | None = None, evidence: str | None = None) -> GpuProcess:
    return process.model_copy(update={"owner": owner, "lease_id": lease_id, "evidence": evidence})


def in_container(table: ProcessTable, line: list[Stat], evidence: Evidence) -> bool | None:
    """Tell whether a process is in the container; None where that cannot be read.

    Engines put a container's id into the cgroup's name: /docker/ID, …/docker-ID.scope, …/libpod-ID.scope.
    """
    if evidence.container_id is None:
        return False
    mark = re.compile(rf"(?:^|[/:-]){re.escape(evidence.container_id)}[0-9a-f]*(?:[/.:]|$)")
    paths = table.cgroups(line[0].pid) if line else ()
    return any(mark.search(path) for path in paths) if paths else None


def _in_cgroup(table: ProcessTable, line: list[Stat], evidence: Evidence) -> bool | None:
    if evidence.cgroup is None:
        return False
    top, paths = "/" + evidence.cgroup.strip("/"), table.cgroups(line[0].pid)
    return any(path == top or path.startswith(top + "/") for path in paths) if paths else None


def _of_user(table: ProcessTable, line: list[Stat], evidence: Evidence) -> bool | None:
    if evidence.uid is None:
        return False
    user = table.user(line[0].pid)
    return None if user is None else user == evidence.uid


def _below(table: ProcessTable, line: list[Stat], evidence: Evidence) -> bool | None:
    places = [(each.pid, each.started) for each in line]
    return evidence.keeper in places[1:] or any(place in evidence.ancestors for place in places)


# In the order of what they prove: True is the lease's, False is not, None could not be read.
MATCHES = {"container": in_container, "cgroup": _in_cgroup, "user": _of_user, "ancestor": _below}


class Family:
    """A hook's process and all that it starts, remembered by number and start, also what leaves its group."""

    def __init__(self, pid: int, run_id: str, table: ProcessTable) -> None:
        self._pid, self._run_id, self._table = pid, run_id, table
        self._known: dict[int, Stat] = {}
        stat = table.stat(pid)
        self._began = stat.started if stat else 0
        if stat:
            self._known[pid] = stat

    @property
    def known(self) -> tuple[tuple[int, int], ...]:
        """Return (pid, start) of every process seen."""
        return tuple((stat.pid, stat.started) for stat in self._known.values())

    def look(self) -> None:
        """Take down the children of those known."""
        waiting = list(self._known)
        while waiting:
            for child in self._table.children(waiting.pop()):
                if child not in self._known and (stat := self._table.stat(child)) is not None:
                    self._known[child] = stat
                    waiting.append(child)

    def look_for_left_behind(self) -> None:
        """Take down what the hook left running: of its session or group, or started with its run's mark."""
        for pid in self._table.pids():
            stat = self._table.stat(pid)
            if stat is None or stat.started < self._began or pid in self._known:
                continue
            is_kin = self._pid in (stat.session, stat.group)
            if is_kin or self._table.variable(pid, RUN_VARIABLE) == self._run_id:
                self._known[pid] = stat

    def living(self) -> list[int]:
        """Return who still runs, as itself and not as a process that was given its number since."""
        return [pid for pid, stat in self._known.items() if _same(self._table.stat(pid), stat)]


def _same(now: Stat | None, before: Stat) -> bool:
    return now is not None and not now.has_ended and (now.pid, now.started) == (before.pid, before.started)
