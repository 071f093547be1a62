"""A node's reports on the server's clock: their windows, and the darkness between one live report and the next."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from schemas.delivery import MeterInputs
from schemas.nodes import NodeReported
from services.delivery.spans import Span, after_first, length_of, union, without

INTERVALS_PER_GAP = 3


@dataclass(frozen=True)
class Window:
    """One report's window in server time."""

    start_ms: int
    end_ms: int
    record: NodeReported


@dataclass(frozen=True)
class Darkness:
    """Time in which no live report was heard; the last report that speaks of it came at `heard_ms`."""

    start_ms: int
    end_ms: int
    heard_ms: int


def place_windows(records: Sequence[NodeReported]) -> list[Window]:
    """Puts the reports' windows on the server's clock; never after their arrival, never overlapping, never stretched.

    Server time minus node time is at most arrival − window's end for every report of a boot, and at least nonce issued
    − window's end for a live one. The estimate moves as little as these bounds allow; no node gains by its own clock.
    """
    windows: list[Window] = []
    for _, run in groupby(records, key=lambda record: record.report.boot_id):
        boot = list(run)
        offset_ms = _first_offset(boot)
        covered_ms = windows[-1].end_ms if windows else 0
        for record in boot:
            report = record.report
            offset_ms = min(offset_ms, record.received_ms - report.mono_end_ms)
            if record.nonce_issued_ms is not None:
                offset_ms = max(offset_ms, record.nonce_issued_ms - report.mono_end_ms)
            end_ms = max(report.mono_end_ms + offset_ms, covered_ms)
            start_ms = min(max(report.mono_start_ms + offset_ms, covered_ms), end_ms)
            windows.append(Window(start_ms, end_ms, record))
            covered_ms = end_ms
    return windows


def _first_offset(boot: Sequence[NodeReported]) -> int:
    """Reports queued from a boot's first moment on prove no time until a live one has come."""
    live = next((index for index, record in enumerate(boot) if not record.report.queued), len(boot) - 1)
    return min(record.received_ms - record.report.mono_end_ms for record in boot[: live + 1])


def find_darkness(windows: Iterable[Window], interval_ms: int) -> list[Darkness]:
    """Returns the time between one live report's arrival and the next one's, less the interval that each proves.

    Which reports fill that time does not matter, nor how long their windows are, nor a reboot in it: whoever made them
    could have made others. Before the first live report, and after the last, it is the time that queued ones claim.
    """
    found: list[Darkness] = []
    live_ms: int | None = None
    queued: list[Window] = []
    for window in windows:
        if window.record.report.queued:
            queued.append(window)
            continue
        start_ms = queued[0].start_ms if live_ms is None and queued else live_ms
        arrived_ms = window.record.received_ms
        if start_ms is not None and start_ms < arrived_ms - interval_ms:
            found.append(Darkness(start_ms, arrived_ms - interval_ms, _heard_ms(queued, arrived_ms)))
        live_ms, queued = arrived_ms, []
    if queued:
        start_ms = queued[0].start_ms if live_ms is None else live_ms
        found.append(Darkness(start_ms, queued[-1].end_ms, _heard_ms(queued, start_ms)))
    return found


def _heard_ms(queued: Sequence[Window], arrived_ms: int) -> int:
    return max((window.record.received_ms for window in queued), default=arrived_ms)


def outages_of(inputs: MeterInputs) -> list[Span]:
    """Returns when the venue could not take reports."""
    return union((each.start_ms, each.end_ms) for each in inputs.excuses if each.kind == "venue_outage")


def unproven_spans(inputs: MeterInputs, windows: Iterable[Window]) -> list[Span]:
    """Returns the time for which reports alone are no proof.

    Nobody but the operator can say what happened while a node was dark. That counts for the gap limit; for more of it
    only where a second witness saw the GPUs and the reports came in time, or where the venue itself was away. A time
    for which no report speaks at all is not paid in any case, and uses up nothing of the limit. [D-20]
    """
    known_windows = list(windows)
    outages = outages_of(inputs)
    silent = _unpaid_silences(inputs, known_windows, outages)
    witnessed = [(each.start_ms, each.end_ms) for each in inputs.witnesses]
    unproven: list[Span] = []
    for dark in find_darkness(known_windows, inputs.gap_ms_max // INTERVALS_PER_GAP):
        came_in_time = inputs.provisional_ms is None or dark.heard_ms <= inputs.provisional_ms
        known = outages + silent + (witnessed if came_in_time else [])
        alone = without([(dark.start_ms, dark.end_ms)], known)
        if length_of(alone) > inputs.gap_ms_max:
            unproven += after_first(alone, inputs.gap_ms_max)
    return unproven


def _unpaid_silences(inputs: MeterInputs, windows: Sequence[Window], outages: Sequence[Span]) -> list[Span]:
    """Returns the gaps that are not estimated as delivered, and the windows that are no heartbeat."""
    silent = [(window.start_ms, window.end_ms) for window in windows]
    silent = [span for span in silent if length_of([span]) > inputs.gap_ms_max]
    for before, after in pairwise(windows):
        gap = (before.end_ms, after.start_ms)
        is_reboot = before.record.report.boot_id != after.record.report.boot_id
        if gap[0] < gap[1] and (is_reboot or length_of(without([gap], outages)) > inputs.gap_ms_max):
            silent.append(gap)
    return silent
