"""The renter's meter beside the operator's: where both agree, where only one saw, and what they differ about. Pure.

Neither side gains by keeping silent: what only the operator saw counts as it would without a second meter, what only
the renter saw counts against himself. Where the renter saw a GPU ill or gone that the operator calls well, that time is
in dispute, and `differences` of the inputs says whose word stands once it is decided.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from schemas.delivery import MeterInputs, Witness
from schemas.gpu_health import fault_of
from schemas.nodes import RenterReported
from services.delivery.period_ranges import NO_REPORT, PeriodRange, clip
from services.delivery.spans import Span, union, within
from services.delivery.timeline import Window, place_windows

RENTER_SAW_FAULT = "renter_saw_fault"
SEEN_BY_ONE = frozenset({NO_REPORT, "unproven"})


@dataclass(frozen=True)
class Seen:
    """When the renter's meter saw a GPU well, and when ill or gone."""

    well: tuple[Span, ...] = ()
    ill: tuple[Span, ...] = ()


def seen_by_renter(inputs: MeterInputs, gpu: str, windows: Iterable[Window]) -> Seen:
    """Returns what a renter's reports say of a GPU. A report for longer than the gap limit says nothing."""
    well, ill = [], []
    for window in windows:
        reading = next((each for each in window.record.report.gpus if each.uuid == gpu), None)
        if reading is None or reading.blind or window.end_ms - window.start_ms > inputs.gap_ms_max:
            continue
        is_ill = not reading.present or bool(fault_of(reading, inputs.memory_min_mib))
        (ill if is_ill else well).append((window.start_ms, window.end_ms))
    return Seen(tuple(union(well)), tuple(union(ill)))


def compare(inputs: MeterInputs, ranges: Iterable[PeriodRange], seen: Seen) -> list[PeriodRange]:
    """Returns the operator's ranges as they stand beside what the renter saw."""
    compared: list[PeriodRange] = []
    for range_ in ranges:
        for part in _cut(range_, (*seen.well, *seen.ill)):
            compared.append(_judge(inputs, part, seen))
    return compared


def renter_witnesses(inputs: MeterInputs, records: Sequence[RenterReported]) -> list[Witness]:
    """Returns when the renter saw all the GPUs of a position well: he is a second witness of what nobody heard live."""
    windows, common = place_windows(records), None
    for gpu in inputs.gpus:
        own = seen_by_renter(inputs, gpu, windows).well
        common = own if common is None else both(common, own)
    return [Witness(start_ms=start_ms, end_ms=end_ms, kind="renter") for start_ms, end_ms in common or ()]


def both(some: Iterable[Span], others: Iterable[Span]) -> tuple[Span, ...]:
    """Returns the time that is in both."""
    others = tuple(others)
    return tuple(part for start_ms, end_ms in some for part in within(others, start_ms, end_ms))


def _judge(inputs: MeterInputs, part: PeriodRange, seen: Seen) -> PeriodRange:
    if part.excused:
        return part
    if part.conforming and _within(part, seen.well):
        return replace(part, quality="A")
    if not part.conforming and part.reason in SEEN_BY_ONE and _within(part, seen.well):
        return replace(part, quality="B", conforming=True, reason="")
    if part.conforming and _within(part, seen.ill):
        if inputs.differences == "renter":
            return replace(part, quality="B", conforming=False, used=False, reason=RENTER_SAW_FAULT)
        return replace(part, disputed=inputs.differences == "held")
    return part


def _cut(range_: PeriodRange, spans: Sequence[Span]) -> list[PeriodRange]:
    """Cuts a range wherever a span begins or ends in it."""
    edges = sorted({range_.start_ms, range_.end_ms, *(edge for span in spans for edge in span)})
    inside = [edge for edge in edges if range_.start_ms <= edge <= range_.end_ms]
    return [part for start, end in pairwise(inside) for part in clip([range_], start, end)]


def _within(part: PeriodRange, spans: Iterable[Span]) -> bool:
    return any(start_ms <= part.start_ms and part.end_ms <= end_ms for start_ms, end_ms in spans)


def is_apart(disputed_ms: int, window_ms: int) -> bool:
    """Whether the two meters are apart by more than one per cent of what was contracted."""
    return 100 * disputed_ms > window_ms
