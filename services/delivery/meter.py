"""The meter: from a node's reports to what counts as delivered, as a pure function of inputs that can be shown.

A second conforms (MARKET.md) when a fresh verified heartbeat covers it, the GPU is nominated and allocated to this
buyer, shows no fatal fault, has its grade's memory, is not throttled by its hardware for too long, and runs nobody
else's work. Where the meter itself was blind (a driver that hangs), that is no evidence either way: its time counts
like a gap between reports. An energy counter that falls is flagged and pays: drivers reset it when they are loaded
anew, some boards have none; only a gap over which it fell is not estimated, since what ran before did not survive.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import groupby

from schemas.delivery import MeteredReport, MeterInputs, MeterInterval, MeterOutcome
from schemas.gpu_health import BLIND, HARDWARE_THROTTLE, LOST, GpuHealth, next_health
from schemas.ids import product_of
from schemas.nodes import STRONG_EVIDENCE, GpuProcess, GpuReading, NodeReported, message_hash

METERED_TIER = ".M"
ENERGY_FELL = "energy_fell"
NEW = GpuHealth()


class RecordsDiffer(ValueError):
    """The reports given to the meter are not those that its inputs name."""


@dataclass(frozen=True)
class Window:
    """One report's window in server time. `gap_start_ms` is where the time before it became uncovered."""

    start_ms: int
    end_ms: int
    gap_start_ms: int | None
    record: NodeReported


@dataclass(frozen=True)
class GpuState:
    """What the meter carries from one window to the next for one GPU."""

    health: GpuHealth = NEW
    energy_mj: int | None = None
    energy_fell: bool = False
    throttled_since_ms: int | None = None
    conforming: bool = False
    used: bool = False


@dataclass(frozen=True)
class Stretch:
    """A part of one GPU's time with one judgement."""

    start_ms: int
    end_ms: int
    quality: str
    conforming: bool
    used: bool
    reason: str


def cite_report(record: NodeReported) -> MeteredReport:
    """Returns what the meter's inputs say of a report."""
    return MeteredReport(
        seq=record.report.seq,
        hash=message_hash(record.report),
        received_ms=record.received_ms,
        nonce_issued_ms=record.nonce_issued_ms,
    )


def meter_digest(inputs: MeterInputs) -> str:
    """SHA-256 over the canonical inputs, as the settlement carries it."""
    return sha256(inputs.canonical()).hexdigest()


def measure(inputs: MeterInputs, records: Sequence[NodeReported]) -> MeterOutcome:
    """Returns D, E and U of one position with the intervals they come from. Raises RecordsDiffer."""
    if tuple(map(cite_report, records)) != inputs.reports:
        raise RecordsDiffer(f"position {inputs.position_id}")
    windows = place_windows(records)
    intervals = [interval for gpu in inputs.gpus for interval in _gpu_intervals(inputs, gpu, windows)]
    excused_ms = max(0, min(inputs.offered_ms or inputs.start_ms, inputs.end_ms) - inputs.start_ms) * inputs.qty
    quality_gpu_ms: dict[str, int] = {}
    for interval in intervals:
        span_ms = interval.end_ms - interval.start_ms
        quality_gpu_ms[interval.quality] = quality_gpu_ms.get(interval.quality, 0) + span_ms
    missing_ms = (inputs.qty - len(inputs.gpus)) * (inputs.end_ms - inputs.start_ms)
    if missing_ms:
        quality_gpu_ms["M"] = quality_gpu_ms.get("M", 0) + missing_ms
    return MeterOutcome(
        delivered_gpu_s=sum(i.end_ms - i.start_ms for i in intervals if i.conforming) // 1000,
        excused_gpu_s=excused_ms // 1000,
        used_gpu_s=sum(i.end_ms - i.start_ms for i in intervals if i.conforming and i.used) // 1000,
        quality_gpu_ms=dict(sorted(quality_gpu_ms.items())),
        intervals=tuple(intervals),
    )


def place_windows(records: Sequence[NodeReported]) -> list[Window]:
    """Puts the reports' windows on the server's clock; never after their arrival, never overlapping, never stretched.

    Server time minus node time is at most arrival − window's end for every report of a boot, and at least nonce issued
    − window's end for a live one. The estimate moves as little as these bounds allow; no node gains by its own clock.
    """
    windows: list[Window] = []
    for _, run in groupby(records, key=lambda record: record.report.boot_id):
        boot = list(run)
        offset_ms, gap_start_ms = _first_offset(boot), None
        covered_ms = windows[-1].end_ms if windows else 0
        for record in boot:
            report = record.report
            offset_ms = min(offset_ms, record.received_ms - report.mono_end_ms)
            if record.nonce_issued_ms is not None:
                offset_ms = max(offset_ms, record.nonce_issued_ms - report.mono_end_ms)
            end_ms = max(report.mono_end_ms + offset_ms, covered_ms)
            start_ms = min(max(report.mono_start_ms + offset_ms, covered_ms), end_ms)
            windows.append(Window(start_ms, end_ms, gap_start_ms, record))
            gap_start_ms = covered_ms = end_ms
    return windows


def _first_offset(boot: Sequence[NodeReported]) -> int:
    """Reports queued from a boot's first moment on prove no time until a live one has come."""
    live = next((index for index, record in enumerate(boot) if not record.report.queued), len(boot) - 1)
    return min(record.received_ms - record.report.mono_end_ms for record in boot[: live + 1])


def _gpu_intervals(inputs: MeterInputs, gpu: str, windows: Iterable[Window]) -> list[MeterInterval]:
    stretches = list(_judge(inputs, gpu, windows))
    complete = _fill(inputs.start_ms, inputs.end_ms, _clip(stretches, inputs.start_ms, inputs.end_ms))
    intervals = []
    for stretch in _merge(_restrict_access(inputs, complete)):
        intervals.append(MeterInterval(gpu=gpu, **vars(stretch)))
    return intervals


def _judge(inputs: MeterInputs, gpu: str, windows: Iterable[Window]) -> Iterable[Stretch]:
    """Yields the stretches that reports speak of, in order; what lies between them is missing."""
    state, blind, gap_start_ms = GpuState(), [], None
    for window in windows:
        reading = next((reading for reading in window.record.report.gpus if reading.uuid == gpu), None)
        gap_start_ms = window.gap_start_ms if gap_start_ms is None else gap_start_ms
        if reading is not None and reading.blind:
            blind.append(Stretch(window.start_ms, window.end_ms, "M", False, False, BLIND))
            gap_start_ms = window.start_ms if gap_start_ms is None else gap_start_ms
            continue
        same_boot = state.health.boot_id == window.record.report.boot_id
        before = state if same_boot else GpuState()
        state, reason = _read(inputs, before, reading, window)
        if gap_start_ms is not None and gap_start_ms < window.start_ms:
            span_ms = window.start_ms - gap_start_ms
            if span_ms <= inputs.gap_ms_max and before.conforming and state.conforming and not state.energy_fell:
                yield Stretch(gap_start_ms, window.start_ms, "E", True, before.used and state.used, "")
            else:
                yield from blind
        blind, gap_start_ms = [], None
        if window.end_ms - window.start_ms > inputs.gap_ms_max:
            continue  # one report for so long a time is no heartbeat: its window stays missing
        yield Stretch(window.start_ms, window.end_ms, "O", state.conforming, state.used and state.conforming, reason)
    yield from blind


def _read(inputs: MeterInputs, before: GpuState, reading: GpuReading | None, window: Window) -> tuple[GpuState, str]:
    """Judges one reading; a fault of the hardware lasts until the node reboots, anything else while it shows."""
    health = next_health(before.health, reading, window.record.report.boot_id, inputs.memory_min_mib)
    if reading is None or not reading.present:
        return replace(before, health=health, conforming=False, used=False), LOST
    throttled = reading.throttle is not None and reading.throttle & HARDWARE_THROTTLE
    since_ms = (before.throttled_since_ms or window.start_ms) if throttled else None
    reason = health.fault
    if not reason and since_ms is not None and window.end_ms - since_ms > inputs.throttle_ms_max:
        reason = "throttled"
    if not reason and any(_is_foreign(process, inputs) for process in reading.processes):
        reason = "foreign_process"
    energy_known = reading.energy_mj is not None and before.energy_mj is not None
    state = GpuState(
        health=health,
        energy_mj=before.energy_mj if reading.energy_mj is None else reading.energy_mj,
        energy_fell=energy_known and reading.energy_mj < before.energy_mj,
        throttled_since_ms=since_ms,
        conforming=not reason,
        used=any(_counts_as_use(process, inputs) for process in reading.processes),
    )
    return state, reason or (ENERGY_FELL if state.energy_fell else "")


def _is_foreign(process: GpuProcess, inputs: MeterInputs) -> bool:
    """Somebody else's work, another lease's too. What nobody could look at is neither foreign nor used."""
    return process.whose == "foreign" or (process.whose == "lease" and not process.belongs_to(inputs.lease_id))


def _counts_as_use(process: GpuProcess, inputs: MeterInputs) -> bool:
    """The buyer's own work; where use is what is paid (tier M), a process's own word for it is not enough."""
    is_proven = process.evidence in STRONG_EVIDENCE or not product_of(inputs.contract).endswith(METERED_TIER)
    return process.belongs_to(inputs.lease_id) and is_proven


def _clip(stretches: Iterable[Stretch], start_ms: int, end_ms: int) -> list[Stretch]:
    clipped = (replace(s, start_ms=max(s.start_ms, start_ms), end_ms=min(s.end_ms, end_ms)) for s in stretches)
    return [s for s in clipped if s.start_ms < s.end_ms]


def _fill(start_ms: int, end_ms: int, stretches: Iterable[Stretch]) -> list[Stretch]:
    """Adds what no report covers as missing, so that the stretches make up the whole window."""
    complete, covered_ms = [], start_ms
    for stretch in stretches:
        if covered_ms < stretch.start_ms:
            complete.append(_missing(covered_ms, stretch.start_ms))
        complete.append(stretch)
        covered_ms = stretch.end_ms
    if covered_ms < end_ms:
        complete.append(_missing(covered_ms, end_ms))
    return complete


def _missing(start_ms: int, end_ms: int) -> Stretch:
    return Stretch(start_ms, end_ms, "M", False, False, "no_report")


def _restrict_access(inputs: MeterInputs, stretches: Iterable[Stretch]) -> Iterable[Stretch]:
    """Takes away what lies outside the time in which the buyer could get in."""
    opened_ms = inputs.end_ms if inputs.access_ms is None else inputs.access_ms
    closed_ms = inputs.end_ms if inputs.released_ms is None else inputs.released_ms
    for stretch in stretches:
        for part in _clip([stretch], inputs.start_ms, opened_ms):
            yield replace(part, conforming=False, used=False, reason="no_access")
        yield from _clip([stretch], opened_ms, closed_ms)
        for part in _clip([stretch], max(opened_ms, closed_ms), inputs.end_ms):
            yield replace(part, conforming=False, used=False, reason="released")


def _merge(stretches: Iterable[Stretch]) -> Iterable[Stretch]:
    pending: Stretch | None = None
    for stretch in stretches:
        if pending and replace(pending, start_ms=stretch.start_ms, end_ms=stretch.end_ms) == stretch:
            pending = replace(pending, end_ms=stretch.end_ms)
            continue
        if pending:
            yield pending
        pending = stretch
    if pending:
        yield pending
