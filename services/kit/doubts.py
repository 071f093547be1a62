"""Events that a view cannot take as they stand: each is told in one line and counted, and the view goes on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import structlog
from prometheus_client import Counter

from services.kit.store import AWAY, DatabaseAway, Fenced

PAGE = "docs/runbooks/an-event-that-does-not-fit.md"
PASSING = (*AWAY, DatabaseAway, Fenced, asyncpg.TransactionRollbackError, asyncpg.InsufficientResourcesError)
DOUBTS = Counter("hourbook_events_doubted", "Events of the log that did not fit what the service had")


def note_doubt(seq: int, kind: str, detail: str, **more: Any) -> None:
    """Tells of one event that did not fit."""
    DOUBTS.inc()
    structlog.get_logger().error("an event does not fit", seq=seq, kind=kind, detail=detail, see=PAGE, **more)


def is_passing(error: Exception) -> bool:
    """Says whether a failure has nothing to do with what was to be written, so that trying again may do.

    A value that asyncpg cannot send is one of its interface errors too, and a ValueError.
    """
    return isinstance(error, PASSING) and not isinstance(error, ValueError)


@asynccontextmanager
async def doubting(connection: asyncpg.Connection, seq: int, kind: str) -> AsyncIterator[None]:
    """A savepoint for one event: where it cannot be taken, what it wrote is undone and the transaction goes on."""
    try:
        async with connection.transaction():
            yield
    except Exception as error:
        if is_passing(error):
            raise
        note_doubt(seq, kind, f"{type(error).__name__}: {error}")
