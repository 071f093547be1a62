"""Which GPUs serve which position, and how a lease goes: nominations at the gate, extension over a block, its end."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from schemas.nodes import LeaseStart, LeaseStop

MIN_REPORT_MS = 250
SSH_PORT = 22
HANDOVER_MS = 20
# Why a lease stands as started in a database that was lost although its time is over: its end was told before.
RESTORED = "restored"


@dataclass(frozen=True)
class SoldPosition:
    """A position on one node, as its trade made it; times are the contract's delivery window."""

    position_id: int
    contract: str
    node: str
    buyer: str
    operator: str
    qty: int
    block_id: int | None
    start_ms: int
    end_ms: int


@dataclass(frozen=True)
class Lease:
    """The time for which a buyer has some GPUs of a node: one position, or a block's consecutive hours on one node.

    `told_ends_ms` is the end of the block as far as it is sold on this node: what the node is told.
    """

    lease_id: str
    node: str
    contract: str
    block_id: int | None
    gpus: tuple[str, ...]
    position_ids: tuple[int, ...]
    starts_ms: int
    ends_ms: int
    state: str
    reason: str = ""
    access_ms: int | None = None
    released_ms: int | None = None
    buyer: str = ""
    told_ends_ms: int = 0
    start_answered_ms: int | None = None
    stop_answered_ms: int | None = None
    endpoint: str = ""
    credential: bytes | None = None
    host_key: str = ""

    @property
    def is_open(self) -> bool:
        """Whether the node's hook has let the buyer in, and not out."""
        return self.start_answered_ms is not None and self.stop_answered_ms is None


@dataclass(frozen=True)
class Admission:
    """Who gets into a lease, and what he wishes to find there."""

    ssh_keys: tuple[str, ...]
    image: str | None
    script: str | None


def lease_id_of(position_id: int) -> str:
    """Names a lease after the first position that it serves."""
    return f"lease-{position_id}"


def nominate(
    positions: Iterable[SoldPosition], fit_gpus: Sequence[str], served_before: Mapping[int, Sequence[str]]
) -> dict[int, tuple[str, ...]]:
    """Chooses GPUs of one node for the positions of one contract, each GPU once; oldest positions choose first.

    `served_before` gives the GPUs that served a position's block in the hour before: it keeps them, as far as they are
    fit. Where there are too few GPUs the youngest positions go short.
    """
    ordered = sorted(positions, key=lambda position: position.position_id)
    free = list(dict.fromkeys(fit_gpus))
    chosen: dict[int, list[str]] = {}
    for position in ordered:
        before = dict.fromkeys(served_before.get(position.position_id, ()))
        kept = [gpu for gpu in before if gpu in free][: position.qty]
        free = [gpu for gpu in free if gpu not in kept]
        chosen[position.position_id] = kept
    for position in ordered:
        missing = position.qty - len(chosen[position.position_id])
        chosen[position.position_id] += free[:missing]
        free = free[missing:]
    return {position_id: tuple(gpus) for position_id, gpus in chosen.items() if gpus}


def continues(lease: Lease | None, position: SoldPosition, gpus: Sequence[str]) -> bool:
    """Says whether a position goes on in the lease of its block's hour before, so that the buyer is not interrupted.

    It does with the same GPUs and no time in between, also where some were lost and nothing replaces them.
    """
    return (
        lease is not None
        and lease.state in ("pending", "ready", "started")
        and lease.ends_ms == position.start_ms
        and set(gpus) <= set(lease.gpus)
    )


def start_of(lease: Lease, admission: Admission) -> LeaseStart:
    """Returns what the agent is told to open."""
    return LeaseStart(
        lease_id=lease.lease_id,
        position_ids=lease.position_ids,
        contract=lease.contract,
        gpu_uuids=lease.gpus,
        starts_ms=lease.starts_ms,
        ends_ms=lease.told_ends_ms,
        access_reference=lease.lease_id,
        ssh_keys=admission.ssh_keys,
        image=admission.image,
        script=admission.script,
    )


def address_of(endpoint: str) -> tuple[str, str, int] | None:
    """Reads `ssh://user@host:port` as user, host and port; None for another kind of endpoint."""
    try:
        parts = urlsplit(endpoint)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme != "ssh" or not parts.hostname:
        return None
    return parts.username or "", parts.hostname, port or SSH_PORT


def comes_later(lease: Lease, others: Iterable[Lease], now_ms: int) -> bool:
    """Says whether an earlier lease of the same GPUs has yet to be opened, as where the venue was late with its gate.

    Handed out now, the later one would take the GPUs before its time, and the earlier one would never start.
    """
    return any(
        other.starts_ms < lease.starts_ms
        and other.ends_ms > now_ms
        and other.state in ("pending", "ready")
        and not set(other.gpus).isdisjoint(lease.gpus)
        for other in others
    )


def may_start(lease: Lease, known: Iterable[Lease], time_ms: int) -> bool:
    """Says whether the agent is to be told to open a lease; `known` are all of the node's."""
    is_due = lease.state == "ready" and lease.start_answered_ms is None and lease.ends_ms > time_ms
    return is_due and not comes_later(lease, known, time_ms)


def must_stop(lease: Lease, time_ms: int) -> bool:
    """Says whether the agent has to close a lease: it answered the start, not the stop, and the lease is over."""
    return lease.is_open and (lease.state in ("failed", "ended") or lease.ends_ms <= time_ms)


def stop_of(lease: Lease) -> LeaseStop:
    """Returns what the agent is told to close."""
    return LeaseStop(lease_id=lease.lease_id, reason="failed" if lease.state == "failed" else "ended")


def block_end_ms(position: SoldPosition, same_block: Iterable[SoldPosition]) -> int:
    """Returns where the unbroken run of a block's hours on this node ends that begins with this position."""
    end_ms = position.end_ms
    for later in sorted(same_block, key=lambda other: other.start_ms):
        if later.start_ms == end_ms:
            end_ms = later.end_ms
    return end_ms


def next_report_ms(
    leases: Iterable[Lease], stopping: bool, now_ms: int, interval_ms: int, gate_ms: int | None = None
) -> int:
    """Returns when the node should report next: soon while a lease waits for it, and just after the next one ends.

    So a buyer gets in, and the next one after him, without waiting for a whole interval. A lease whose GPUs another
    buyer still has cannot start before that one's end, which the node is not asked about any sooner. `gate_ms` is the
    next gate of what the node has sold: it reports right after it, and soon again until it has its challenge.
    """
    known = list(leases)
    running = [lease for lease in known if lease.state == "started" and lease.ends_ms > now_ms]
    taken = {gpu for lease in running for gpu in lease.gpus}
    waiting = [lease for lease in known if lease.state in ("pending", "ready") and lease.ends_ms > now_ms]
    soon_ms = max(MIN_REPORT_MS, interval_ms // 10)
    awaits_gate = gate_ms is not None and gate_ms <= now_ms
    if stopping or awaits_gate or any(not taken.intersection(lease.gpus) for lease in waiting):
        return min(interval_ms, soon_ms)
    moments = [lease.ends_ms for lease in running] + ([] if gate_ms is None else [gate_ms])
    return min([interval_ms, *(moment - now_ms + HANDOVER_MS for moment in moments)])
