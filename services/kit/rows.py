"""Rows of lists: one that cannot be shown costs that row, never the page that it is on."""

from collections.abc import Callable, Iterable
from typing import TypeVar

import structlog
from prometheus_client import Counter

from services.kit.doubts import PAGE

UNSHOWN = Counter("hourbook_rows_unshown", "Rows of lists that could not be shown")
NAMED_BY = 100  # characters of a row that say which one it is

Row = TypeVar("Row")
Shown = TypeVar("Shown")


def show_rows(rows: Iterable[Row], show: Callable[[Row], Shown]) -> tuple[Shown, ...]:
    """Shows each row; one that cannot be shown is told in the log, counted, and left out."""
    shown = []
    for row in rows:
        try:
            shown.append(show(row))
        except Exception as error:
            UNSHOWN.inc()
            detail = f"{type(error).__name__}: {error}"[:500]
            structlog.get_logger().error("a row cannot be shown", row=repr(row)[:NAMED_BY], detail=detail, see=PAGE)
    return tuple(shown)
