"""Stretches of one GPU's time with one judgement each: filling, cutting, overlaying, merging."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from services.delivery.spans import Span, union

NO_REPORT = "no_report"


@dataclass(frozen=True)
class Stretch:
    """A part of one GPU's time with one judgement."""

    start_ms: int
    end_ms: int
    quality: str
    conforming: bool
    used: bool
    reason: str
    excused: bool = False
    disputed: bool = False


def clip(stretches: Iterable[Stretch], start_ms: int, end_ms: int) -> list[Stretch]:
    """Returns the parts of stretches between start and end."""
    clipped = (replace(s, start_ms=max(s.start_ms, start_ms), end_ms=min(s.end_ms, end_ms)) for s in stretches)
    return [s for s in clipped if s.start_ms < s.end_ms]


def fill(start_ms: int, end_ms: int, stretches: Iterable[Stretch]) -> list[Stretch]:
    """Adds what no report covers as missing, so that the stretches make up the whole window."""
    complete, covered_ms = [], start_ms
    for stretch in stretches:
        if covered_ms < stretch.start_ms:
            complete.append(missing(covered_ms, stretch.start_ms))
        complete.append(stretch)
        covered_ms = stretch.end_ms
    if covered_ms < end_ms:
        complete.append(missing(covered_ms, end_ms))
    return complete


def missing(start_ms: int, end_ms: int) -> Stretch:
    """Returns a stretch of which nothing is known."""
    return Stretch(start_ms, end_ms, "M", False, False, NO_REPORT)


def overlay(
    stretches: Iterable[Stretch], spans: Iterable[Span], only: str | None = None, **judgement: object
) -> list[Stretch]:
    """Returns the stretches with this judgement wherever the spans are, the others as they were.

    `only` is the reason of the stretches that it is for; None: all.
    """
    cuts = union(spans)
    result: list[Stretch] = []
    for stretch in stretches:
        covered_ms = stretch.start_ms
        for start_ms, end_ms in cuts if only in (None, stretch.reason) else ():
            if end_ms <= covered_ms or start_ms >= stretch.end_ms:
                continue
            result += clip([stretch], covered_ms, start_ms)
            result += [replace(part, **judgement) for part in clip([stretch], max(start_ms, covered_ms), end_ms)]
            covered_ms = end_ms
        result += clip([stretch], covered_ms, stretch.end_ms)
    return result


def merge(stretches: Iterable[Stretch]) -> Iterable[Stretch]:
    """Joins neighbors with the same judgement."""
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
