"""Cursors of lists: the last row's own place in the order, so that what comes or goes meanwhile moves no page."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

from services.kit.http import ProblemError
from services.kit.inputs import read_number

SEPARATOR = "|"


def write_cursor(*place: int | str) -> str:
    """Returns the opaque cursor of a row by the values that it is sorted by."""
    return urlsafe_b64encode(SEPARATOR.join(map(str, place)).encode()).decode().rstrip("=")


def read_cursor(cursor: str, *kinds: type) -> tuple[Any, ...]:
    """Returns the values of a cursor, whole numbers or texts. Raises ProblemError for what was never given out."""
    try:
        parts = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().split(SEPARATOR)
    except ValueError as error:
        raise _not_ours() from error
    values = [read_number(part) if kind is int else part for part, kind in zip(parts, kinds, strict=False)]
    if len(parts) != len(kinds) or None in values or any("\x00" in part for part in parts):
        raise _not_ours()
    return tuple(values)


def _not_ours() -> ProblemError:
    return ProblemError("malformed_request", "cursor: not one of ours")
