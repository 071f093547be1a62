"""The meter: from a node's reports to what counts as delivered, as a pure function of inputs that can be shown.

A second conforms (docs/rules) when a fresh verified heartbeat covers it, the GPU is nominated and allocated to this
buyer, shows no fatal fault, has its grade's memory, is not throttled by its hardware for too long, and runs nobody
else's work. Where the meter itself was blind (a driver that hangs), that is no evidence either way: its time counts
like a gap between reports. An energy counter that falls is flagged and pays: drivers reset it when they are loaded
anew, some boards have none; only a gap over which it fell is not estimated, since what ran before did not survive.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from schemas.delivery import MeteredReport, MeterInputs, MeterInterval, MeterOutcome, Recall
from schemas.gpu_health import BLIND, HARDWARE_THROTTLE, LOST, GpuHealth, next_health
from schemas.ids import tier_of
from schemas.nodes import GpuProcess, GpuReading, NodeReported, RenterReported, message_hash
from services.delivery.period_ranges import NO_REPORT, PeriodRange, clip, fill, merge, overlay
from services.delivery.second_meter import compare, is_apart, seen_by_renter
from services.delivery.spans import Span, length_of, union, within, without
from services.delivery.timeline import INTERVALS_PER_GAP, Window, outages_of, place_windows, unproven_spans

INTERRUPTIBLE_TIER, METERED_TIER = "I", "M"
ENERGY_FELL = "energy_fell"
NEW = GpuHealth()


class RecordsDiffer(ValueError):
    """The reports given to the meter are not those that its inputs name."""


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
class Gap:
    """A time without reports: whether the GPU was well before it, and whether it may be estimated as delivered."""

    start_ms: int
    end_ms: int
    was_well: bool
    is_estimated: bool


def cite_report(record: NodeReported | RenterReported) -> MeteredReport:
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


def measure(
    inputs: MeterInputs, records: Sequence[NodeReported], renter_records: Sequence[RenterReported] = ()
) -> MeterOutcome:
    """Returns D, E and U of one position with the intervals they come from. Raises RecordsDiffer."""
    cited = (tuple(map(cite_report, records)), tuple(map(cite_report, renter_records)))
    if cited != (inputs.reports, inputs.renter_reports):
        raise RecordsDiffer(f"position {inputs.position_id}")
    renter_windows = place_windows(renter_records)
    windows = place_windows(records)
    unproven = unproven_spans(inputs, windows)
    by_gpu = {gpu: _gpu_intervals(inputs, gpu, windows, unproven, renter_windows) for gpu in inputs.gpus}
    intervals = [interval for own in by_gpu.values() for interval in own]
    # A GPU that was never nominated delivers nothing; what is excused for all is excused for it too.
    missing_gpus, window_ms = inputs.qty - len(inputs.gpus), inputs.end_ms - inputs.start_ms
    spared_ms = length_of(union(_spared_spans(inputs))) * missing_gpus
    quality_gpu_ms = {"E": spared_ms, "M": missing_gpus * window_ms - spared_ms}
    for interval in intervals:
        span_ms = interval.end_ms - interval.start_ms
        quality_gpu_ms[interval.quality] = quality_gpu_ms.get(interval.quality, 0) + span_ms
    excused_ms = spared_ms + sum(i.end_ms - i.start_ms for i in intervals if i.excused)
    recalled_gpus, noticed = recall_of(inputs, by_gpu)
    delivered_ms = sum(i.end_ms - i.start_ms for i in intervals if i.conforming)
    used_ms = sum(i.end_ms - i.start_ms for i in intervals if i.conforming and i.used)
    disputed_ms = sum(i.end_ms - i.start_ms for i in intervals if i.disputed)
    disputed_used_ms = sum(i.end_ms - i.start_ms for i in intervals if i.disputed and i.used)
    if not is_apart(disputed_ms, inputs.qty * window_ms):
        disputed_ms = disputed_used_ms = 0
    delivered_gpu_s, used_gpu_s = (delivered_ms - disputed_ms) // 1000, (used_ms - disputed_used_ms) // 1000
    return MeterOutcome(
        delivered_gpu_s=delivered_gpu_s,
        # Rounded up, so that the rest of a second that is excused is not charged as a shortfall.
        excused_gpu_s=-(-excused_ms // 1000),
        used_gpu_s=used_gpu_s,
        disputed_gpu_s=delivered_ms // 1000 - delivered_gpu_s,
        disputed_used_gpu_s=used_ms // 1000 - used_gpu_s,
        quality_gpu_ms={quality: ms for quality, ms in sorted(quality_gpu_ms.items()) if ms},
        intervals=tuple(intervals),
        recalled_gpus=recalled_gpus,
        noticed=noticed,
    )


def recall_of(inputs: MeterInputs, by_gpu: Mapping[str, Sequence[MeterInterval]]) -> tuple[int, bool]:
    """Returns how many GPUs of an interruptible position the operator took back or lost, and whether with notice.

    A GPU that delivered less than its window, by more than the gap limit and before any recall of it, is lost: that
    is a recall without notice.
    """
    if tier_of(inputs.contract) != INTERRUPTIBLE_TIER:
        return 0, False
    without_notice = with_notice = 0
    for gpu in [*inputs.gpus, *(None for _ in range(inputs.qty - len(inputs.gpus)))]:
        recall = _recall_of_gpu(inputs, gpu)
        until_ms = inputs.end_ms if recall is None else min(max(recall.from_ms, inputs.start_ms), inputs.end_ms)
        if gpu is None:
            lost_ms = until_ms - inputs.start_ms
        else:
            lost = ((i.start_ms, i.end_ms) for i in by_gpu[gpu] if not i.conforming and not i.excused)
            lost_ms = length_of(within(lost, inputs.start_ms, until_ms))
        if lost_ms > inputs.gap_ms_max:
            without_notice += 1
        elif until_ms < inputs.end_ms and recall.from_ms - recall.declared_ms >= inputs.notice_ms:
            with_notice += 1
        elif until_ms < inputs.end_ms:
            without_notice += 1
    return (without_notice, False) if without_notice else (with_notice, with_notice > 0)


def _recall_of_gpu(inputs: MeterInputs, gpu: str | None) -> Recall | None:
    own = (recall for recall in inputs.recalls if not recall.gpus or gpu in recall.gpus)
    return min(own, key=lambda recall: recall.from_ms, default=None)


def _gpu_intervals(
    inputs: MeterInputs, gpu: str, windows: Sequence[Window], unproven: Sequence[Span], renter_windows: Sequence[Window]
) -> list[MeterInterval]:
    judged = _judge(inputs, gpu, windows)
    ranges = fill(inputs.start_ms, inputs.end_ms, clip(judged, inputs.start_ms, inputs.end_ms))
    blind = [(w.start_ms, w.end_ms) for w in windows if (seen := reading_of(w, gpu)) is not None and seen.blind]
    ranges = overlay(ranges, blind, only=NO_REPORT, reason=BLIND)
    off = {"conforming": False, "used": False, "excused": False}
    ranges = overlay(ranges, unproven, quality="M", reason="unproven", **off)
    if recall := _recall_of_gpu(inputs, gpu):
        ranges = overlay(ranges, [(recall.from_ms, inputs.end_ms)], reason="recalled", **off)
    shut = [(each.start_ms, each.end_ms) for each in inputs.unreachable]
    ranges = overlay(ranges, shut, reason="unreachable", **off)
    opened_ms = inputs.end_ms if inputs.access_ms is None else inputs.access_ms
    ranges = overlay(ranges, [(inputs.start_ms, opened_ms)], reason="no_access", **off)
    if inputs.released_ms is not None:
        ranges = overlay(ranges, [(inputs.released_ms, inputs.end_ms)], reason="released", **off)
    for reason, spans in _excused_spans(inputs):
        excuse = {"conforming": False, "used": False, "excused": True}
        ranges = overlay(ranges, spans, quality="E", reason=reason, **excuse)
    ranges = compare(inputs, ranges, seen_by_renter(inputs, gpu, renter_windows))
    ranges = _take_disproven(inputs, gpu, ranges)
    return [MeterInterval(gpu=gpu, **vars(each)) for each in merge(ranges)]


def _take_disproven(inputs: MeterInputs, gpu: str, ranges: Iterable[PeriodRange]) -> list[PeriodRange]:
    """Takes what a failed proof says was not proven, whoever saw it, from what counted; what is excused stays so."""
    spans = [(each.start_ms, each.end_ms) for each in inputs.disproven if each.gpu == gpu]
    judgement = {"quality": "M", "conforming": False, "used": False, "disputed": False, "reason": "disproven"}
    taken = ([each] if each.excused else overlay([each], spans, **judgement) for each in ranges)
    return [part for parts in taken for part in parts]


def _excused_spans(inputs: MeterInputs) -> list[tuple[str, list[Span]]]:
    """Returns what nobody pays for whatever the reports say: the opening as far as it is not the operator's, and
    maintenance.

    The lease is due at the start, or when the venue handed it out. From then on the hook has the grace of opening, in
    which the buyer does not pay and the operator is not charged. Where the venue goes away before that is over, the
    node has the whole grace again, from the report by which it hears that the venue is back. Where the venue came so
    late that the grace would have outlasted the window, it costs nobody that the buyer never got in.
    """
    start_ms, end_ms, grace_ms = inputs.start_ms, inputs.end_ms, inputs.opening_grace_ms
    opened_ms = end_ms if inputs.access_ms is None else max(inputs.access_ms, start_ms)
    offered_ms = max(start_ms, inputs.offered_ms or start_ms)
    outages, due_ms = outages_of(inputs), offered_ms
    for away_ms, back_ms in outages:
        if away_ms <= due_ms + grace_ms and offered_ms < back_ms:
            due_ms = max(due_ms, back_ms + inputs.gap_ms_max // INTERVALS_PER_GAP)
    spans = [
        ("venue_outage", within(outages, start_ms, min(opened_ms, end_ms))),
        ("venue_late", within([(start_ms, min(offered_ms, opened_ms))], start_ms, end_ms)),
    ]
    if inputs.access_ms is not None or (due_ms > start_ms and due_ms + grace_ms >= end_ms):
        opening = without([(offered_ms, min(opened_ms, due_ms + grace_ms))], outages)
        spans.append(("opening", within(opening, start_ms, end_ms)))
    return [*spans, ("maintenance", within(_maintenance(inputs), start_ms, end_ms))]


def _maintenance(inputs: MeterInputs) -> list[Span]:
    return [(each.start_ms, each.end_ms) for each in inputs.excuses if each.kind == "maintenance"]


def _spared_spans(inputs: MeterInputs) -> list[Span]:
    """Returns what is excused also for a GPU that was never there: the venue's own delay, and maintenance. [D-19]"""
    offered_ms = max(inputs.start_ms, inputs.offered_ms or inputs.start_ms)
    return within([(inputs.start_ms, offered_ms), *_maintenance(inputs)], inputs.start_ms, inputs.end_ms)


def _judge(inputs: MeterInputs, gpu: str, windows: Iterable[Window]) -> Iterable[PeriodRange]:
    """Yields the ranges that reports speak of, in order; what lies between them is missing."""
    state, covered_ms, was_well = GpuState(), None, True
    for window in windows:
        reading = reading_of(window, gpu)
        if reading is not None and reading.blind:
            continue
        before = state if state.health.boot_id == window.record.report.boot_id else GpuState()
        state, reason = _read(inputs, before, reading, window)
        if covered_ms is None:
            covered_ms, was_well = min(inputs.start_ms, window.start_ms), state.conforming
        is_estimated = before.conforming and state.conforming and not state.energy_fell
        gap = Gap(covered_ms, window.start_ms, was_well, is_estimated)
        yield from _bridge(inputs, gap, before.used and state.used)
        if window.end_ms - window.start_ms > inputs.gap_ms_max:
            # One report for so long a time is no heartbeat: its window stays missing.
            yield from _bridge(inputs, Gap(window.start_ms, window.end_ms, was_well, False), False)
        else:
            yield PeriodRange(
                window.start_ms, window.end_ms, "O", state.conforming, state.used and state.conforming, reason
            )
        covered_ms, was_well = window.end_ms, state.conforming
    start_ms = inputs.start_ms if covered_ms is None else covered_ms
    yield from _bridge(inputs, Gap(start_ms, inputs.end_ms, was_well, False), False)


def reading_of(window: Window, gpu: str) -> GpuReading | None:
    """Returns what a window's report says of a GPU."""
    return next((reading for reading in window.record.report.gpus if reading.uuid == gpu), None)


def _bridge(inputs: MeterInputs, gap: Gap, used: bool) -> list[PeriodRange]:
    """Returns what counts of a time without reports.

    Up to the gap limit it counts as delivered, within one boot and between two conforming windows. Of a longer gap what
    is the venue's own outage is excused, if the GPU was well and its node not silent for long before; so is the time
    before it for which the report would have come in it. What is left of it is again measured by the gap limit. [D-17]
    """
    if gap.start_ms >= gap.end_ms:
        return []
    if gap.is_estimated and gap.end_ms - gap.start_ms <= inputs.gap_ms_max:
        return [PeriodRange(gap.start_ms, gap.end_ms, "E", True, used, "")]
    away = within(outages_of(inputs), gap.start_ms, gap.end_ms)
    alone = without([(gap.start_ms, gap.end_ms)], away)
    is_delivered = gap.is_estimated and length_of(alone) <= inputs.gap_ms_max
    found = [PeriodRange(start_ms, end_ms, "E", True, used, "") for start_ms, end_ms in alone if is_delivered]
    if gap.was_well and away:
        if not is_delivered and away[0][0] - gap.start_ms <= inputs.gap_ms_max // INTERVALS_PER_GAP:
            away[0] = (gap.start_ms, away[0][1])
        for start_ms, end_ms in away:
            if length_of(within(alone, gap.start_ms, start_ms)) <= inputs.gap_ms_max:
                found.append(PeriodRange(start_ms, end_ms, "E", False, False, "venue_outage", True))
    return sorted(found, key=lambda each: each.start_ms)


def _read(inputs: MeterInputs, before: GpuState, reading: GpuReading | None, window: Window) -> tuple[GpuState, str]:
    """Judges one reading; a fault of the hardware lasts until the node reboots, anything else while it shows. [D-16]"""
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
    """The buyer's own work; where use is what is paid (tier M), a bare claim is not enough. [D-18]"""
    is_proven = process.evidence is not None or tier_of(inputs.contract) != METERED_TIER
    return process.belongs_to(inputs.lease_id) and is_proven
