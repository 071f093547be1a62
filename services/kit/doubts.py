"""Events that a view cannot take as they stand: each is told in one line and counted, and the view goes on."""

from typing import Any

import structlog
from prometheus_client import Counter

PAGE = "docs/runbooks/an-event-that-does-not-fit.md"
DOUBTS = Counter("hourbook_events_doubted", "Events of the log that did not fit what the service had")


def note_doubt(seq: int, kind: str, detail: str, **more: Any) -> None:
    """Tells of one event that did not fit."""
    DOUBTS.inc()
    structlog.get_logger().error("an event does not fit", seq=seq, kind=kind, detail=detail, see=PAGE, **more)
