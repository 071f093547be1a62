"""Writes what the events changed into the tables, behind the reader, and knows how far they are."""

import asyncio

import structlog
from prometheus_client import Counter, Gauge

from services.gateway.domain import HistoryBehind
from services.gateway.projections.history import History
from services.gateway.settings import GatewaySettings
from services.gateway.store import Rows, Store, rows_of
from services.kit.process import set_within
from services.kit.store import DatabaseAway, Position

FLUSHED_SEQ = Gauge("hourbook_gateway_flushed_seq", "The last event that the history tables hold")
FLUSHED_ROWS = Counter("hourbook_gateway_flushed_rows", "Rows written to the history tables")


class TooFarBehind(Exception):
    """PostgreSQL was away for so long that no more history fits into memory; after a restart the log is read again."""


class Recorder:
    """Flushes the history's changes in batches, one transaction each; while PostgreSQL is away they pile up."""

    def __init__(self, settings: GatewaySettings, history: History, store: Store, position: Position):
        self._settings, self._history, self._store = settings, history, store
        self._flushed, self._read = position, position
        self._news, self._moved, self._wanted = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @property
    def position(self) -> Position:
        """Where the history stands."""
        return self._read

    def note(self, position: Position) -> None:
        """The history holds all events up to `position` now. Raises TooFarBehind."""
        self._read = position
        self._news.set()
        if self._history.changes_pending() > self._settings.unflushed_rows_max:
            raise TooFarBehind(f"{self._history.changes_pending()} rows")

    async def run(self) -> None:
        """Flush for ever."""
        while True:
            await self._news.wait()
            self._news.clear()
            changes, after = self._history.drain_changes(), self._read
            await self._flush(rows_of(changes, after))
            self._flushed = after
            self._history.forget(changes)
            FLUSHED_SEQ.set(after.seq)
            FLUSHED_ROWS.inc(len(changes))
            self._moved.set()
            self._moved = asyncio.Event()
            await set_within(self._wanted, self._settings.flush_pause_s)
            self._wanted.clear()

    async def reach(self, seq: int) -> None:
        """Return when the tables hold event `seq`; they are written for it at once. Raises HistoryBehind if that takes
        too long.
        """
        try:
            async with asyncio.timeout(self._settings.read_wait_s):
                while self._flushed.seq < seq:
                    self._wanted.set()
                    await self._moved.wait()
        except TimeoutError as error:
            raise HistoryBehind(f"the tables stand at {self._flushed.seq}, not yet at {seq}") from error

    async def _flush(self, rows: Rows) -> None:
        first = True
        while True:
            try:
                # A transaction whose end was not seen may have been committed.
                if first or (await self._store.position()).seq != rows.after.seq:
                    await self._store.flush(rows, self._flushed)
                return
            except DatabaseAway as error:
                first = False
                structlog.get_logger().warning("history waits for PostgreSQL", error=str(error))
                await asyncio.sleep(self._settings.reconnect_delay_s)
