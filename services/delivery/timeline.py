"""A node's reports on the server's clock: their windows, and the darkness between one live report and the next."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from schemas.delivery import MeterInputs
from schemas.nodes import NodeReported
from services.delivery.spans import Span, after_first, length_of, union, without


@dataclass(frozen=True)
class Window:
    """One report's window in server time."""

    start_ms: int
    end_ms: int
    record: NodeReported


@dataclass(frozen=True)
class Darkness:
    """Time in which no live report was heard, and which queued ones speak of; the last of them came at `heard_ms`."""

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


def find_darkness(windows: Iterable[Window]) -> list[Darkness]:
    """Returns where queued reports stand between two live ones, or at the edge of a boot."""
    found: list[Darkness] = []
    for _, run in groupby(windows, key=lambda window: window.record.report.boot_id):
        seen_ms: int | None = None  # where the last live report ended
        dark: Darkness | None = None
        for window in run:
            if window.record.report.queued:
                start_ms = dark.start_ms if dark else window.start_ms if seen_ms is None else seen_ms
                heard_ms = max(dark.heard_ms if dark else 0, window.record.received_ms)
                dark = Darkness(start_ms, window.end_ms, heard_ms)
                continue
            if dark:
                found.append(Darkness(dark.start_ms, window.start_ms, dark.heard_ms))
            seen_ms, dark = window.end_ms, None
        if dark:
            found.append(dark)
    return found


def outages_of(inputs: MeterInputs) -> list[Span]:
    """Returns when the venue could not take reports."""
    return union((each.start_ms, each.end_ms) for each in inputs.excuses if each.kind == "venue_outage")


def unproven_spans(inputs: MeterInputs, windows: Iterable[Window]) -> list[Span]:
    """Returns the time for which queued reports alone are no proof.

    Nobody but the operator can say what happened while a node was dark. That counts for the gap limit; for more of it
    only where a second witness saw the GPUs and the reports came in time, or where the venue itself was away. A time
    for which no report speaks at all is not paid in any case, and uses up nothing of the limit.
    """
    known_windows = list(windows)
    outages = outages_of(inputs)
    silent = _unpaid_silences(inputs, known_windows, outages)
    witnessed = [(each.start_ms, each.end_ms) for each in inputs.witnesses]
    unproven: list[Span] = []
    for dark in find_darkness(known_windows):
        came_in_time = inputs.provisional_ms is None or dark.heard_ms <= inputs.provisional_ms
        known = outages + silent + (witnessed if came_in_time else [])
        alone = without([(dark.start_ms, dark.end_ms)], known)
        if length_of(alone) > inputs.gap_ms_max:
            unproven += after_first(alone, inputs.gap_ms_max)
    return unproven


def _unpaid_silences(inputs: MeterInputs, windows: Sequence[Window], outages: Sequence[Span]) -> list[Span]:
    """Returns the gaps that are too long to be estimated as delivered, and the windows that are no heartbeat."""
    gaps = [(before.end_ms, after.start_ms) for before, after in pairwise(windows)]
    long_gaps = [gap for gap in gaps if length_of(without([gap], outages)) > inputs.gap_ms_max]
    spans = [(window.start_ms, window.end_ms) for window in windows]
    return long_gaps + [span for span in spans if length_of([span]) > inputs.gap_ms_max]
