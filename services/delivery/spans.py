"""Spans of time, [start_ms, end_ms): union, difference, length."""

from collections.abc import Iterable

Span = tuple[int, int]


def union(spans: Iterable[Span]) -> list[Span]:
    """Returns the same time as spans in order that neither touch nor overlap."""
    merged: list[Span] = []
    for start_ms, end_ms in sorted(span for span in spans if span[0] < span[1]):
        if merged and start_ms <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end_ms))
        else:
            merged.append((start_ms, end_ms))
    return merged


def without(spans: Iterable[Span], cuts: Iterable[Span]) -> list[Span]:
    """Returns what is left of spans when the cuts are taken away."""
    left, taken = [], union(cuts)
    for start_ms, end_ms in union(spans):
        for cut_start_ms, cut_end_ms in taken:
            if cut_end_ms <= start_ms or cut_start_ms >= end_ms:
                continue
            if start_ms < cut_start_ms:
                left.append((start_ms, cut_start_ms))
            start_ms = cut_end_ms
        if start_ms < end_ms:
            left.append((start_ms, end_ms))
    return left


def within(spans: Iterable[Span], start_ms: int, end_ms: int) -> list[Span]:
    """Returns the parts of spans between start and end."""
    clipped = ((max(start_ms, first_ms), min(end_ms, last_ms)) for first_ms, last_ms in spans)
    return [span for span in clipped if span[0] < span[1]]


def after_first(spans: Iterable[Span], length_ms: int) -> list[Span]:
    """Returns what follows the first so many milliseconds of spans in order."""
    left, rest_ms = [], length_ms
    for start_ms, end_ms in spans:
        taken_ms = min(rest_ms, end_ms - start_ms)
        rest_ms -= taken_ms
        if start_ms + taken_ms < end_ms:
            left.append((start_ms + taken_ms, end_ms))
    return left


def length_of(spans: Iterable[Span]) -> int:
    """Returns how many milliseconds disjoint spans make up."""
    return sum(end_ms - start_ms for start_ms, end_ms in spans)
