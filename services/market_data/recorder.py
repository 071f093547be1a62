"""Writes what the view found into the tables, behind the feed: the feed waits for no disk."""

import asyncio
from collections.abc import Callable

from services.kit.process import set_within
from services.kit.store import Pool, Position
from services.market_data import store
from services.market_data.domain import Changes
from services.market_data.history import History, Stored
from services.market_data.settings import Settings


class Recorder:
    """Gathers what is to be written and writes it, one transaction at a time, the cursor with it.

    While PostgreSQL is away it gathers up to a limit; then `room` holds the reader back.
    """

    def __init__(
        self, settings: Settings, pool: Pool, position: Position, stored: Stored, wake_outbox: Callable[[], None]
    ) -> None:
        self._settings, self._pool, self._stored, self._wake_outbox = settings, pool, stored, wake_outbox
        self._written = self._read = position
        self._history = History()
        self._news, self._room = asyncio.Event(), asyncio.Event()

    def add(self, changes: Changes) -> None:
        """Take what one command changed, unless the tables have it already."""
        if changes.seq > self._written.seq:
            self._history.add(changes)

    async def note(self, position: Position) -> None:
        """Everything up to `position` was added; waits while too much of it is unwritten."""
        if position.seq <= self._written.seq:
            self._stored.move(position.seq)
            return
        self._read = position
        self._news.set()
        while len(self._history) > self._settings.market_data_unwritten_rows_max:
            self._room.clear()
            await self._room.wait()

    async def run(self) -> None:
        """Write for ever. Raises Fenced where another process writes too."""
        while True:
            await self._news.wait()
            self._news.clear()
            history, new, self._history = self._history, self._read, History()
            await store.write(self._pool, self._settings.shard, self._written, new, history)
            self._written = new
            self._stored.move(new.seq)
            self._room.set()
            if history.fixings:
                self._wake_outbox()
            await set_within(self._stored.wanted, self._settings.market_data_write_pause_s)
            self._stored.wanted.clear()
