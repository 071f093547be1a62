"""Ranges of one GPU's time with one judgement each: filling, cutting, overlaying, merging."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from services.delivery.spans import Span, union

NO_REPORT = "no_report"


@dataclass(frozen=True)
class PeriodRange:
    """A part of one GPU's time with one judgement."""

    start_ms: int
    end_ms: int
    quality: str
    conforming: bool
    used: bool
    reason: str
    excused: bool = False
    disputed: bool = False


def clip(ranges: Iterable[PeriodRange], start_ms: int, end_ms: int) -> list[PeriodRange]:
    """Returns the parts of ranges between start and end."""
    clipped = (replace(s, start_ms=max(s.start_ms, start_ms), end_ms=min(s.end_ms, end_ms)) for s in ranges)
    return [s for s in clipped if s.start_ms < s.end_ms]


def fill(start_ms: int, end_ms: int, ranges: Iterable[PeriodRange]) -> list[PeriodRange]:
    """Adds what no report covers as missing, so that the ranges make up the whole window."""
    complete, covered_ms = [], start_ms
    for range_ in ranges:
        if covered_ms < range_.start_ms:
            complete.append(missing(covered_ms, range_.start_ms))
        complete.append(range_)
        covered_ms = range_.end_ms
    if covered_ms < end_ms:
        complete.append(missing(covered_ms, end_ms))
    return complete


def missing(start_ms: int, end_ms: int) -> PeriodRange:
    """Returns a range of which nothing is known."""
    return PeriodRange(start_ms, end_ms, "M", False, False, NO_REPORT)


def overlay(
    ranges: Iterable[PeriodRange], spans: Iterable[Span], only: str | None = None, **judgement: object
) -> list[PeriodRange]:
    """Returns the ranges with this judgement wherever the spans are, the others as they were.

    `only` is the reason of the ranges that it is for; None: all.
    """
    cuts = union(spans)
    result: list[PeriodRange] = []
    for range_ in ranges:
        covered_ms = range_.start_ms
        for start_ms, end_ms in cuts if only in (None, range_.reason) else ():
            if end_ms <= covered_ms or start_ms >= range_.end_ms:
                continue
            result += clip([range_], covered_ms, start_ms)
            result += [replace(part, **judgement) for part in clip([range_], max(start_ms, covered_ms), end_ms)]
            covered_ms = end_ms
        result += clip([range_], covered_ms, range_.end_ms)
    return result


def merge(ranges: Iterable[PeriodRange]) -> Iterable[PeriodRange]:
    """Joins neighbors with the same judgement."""
    pending: PeriodRange | None = None
    for range_ in ranges:
        if pending and replace(pending, start_ms=range_.start_ms, end_ms=range_.end_ms) == range_:
            pending = replace(pending, end_ms=range_.end_ms)
            continue
        if pending:
            yield pending
        pending = range_
    if pending:
        yield pending
