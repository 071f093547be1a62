"""Events in, transfers out: one batch, one transaction; a difference to the engine halts the market."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import structlog

from services.kit.events import EventBatch
from services.kit.places import follow_from
from services.kit.readiness import Readiness
from services.kit.store import DatabaseAway, Position
from services.ledger import metrics
from services.ledger.domain import LedgerMismatch, corrected_positions, plan_batch
from services.ledger.settings import LedgerSettings
from services.ledger.store import LedgerStore

Result = TypeVar("Result")

POSTING = "agreement with the engine"
CAUGHT_UP = "the end of the event log"


class Poster:
    """The one writer of the books."""

    def __init__(
        self, settings: LedgerSettings, store: LedgerStore, readiness: Readiness, wake_outbox: Callable[[], None]
    ):
        self._settings, self._store = settings, store
        self._readiness, self._wake_outbox = readiness, wake_outbox
        self._balances = {}
        self._position = Position(0, 0, None)
        self._moved = asyncio.Condition()
        self.is_over = False

    @property
    def seq(self) -> int:
        """The last event posted."""
        return self._position.seq

    async def run(self) -> None:
        """Posts for ever, or until the ledger and the engine differ; then it stays, says so, and posts nothing more."""
        mismatch = await self._patiently(self._store.mismatch)
        if mismatch is None:
            try:
                await self._post_all()
            except LedgerMismatch as found:
                mismatch = found
                await self._patiently(partial(self._store.halt, found))
                self._wake_outbox()
        self._readiness.waits(POSTING)
        log = structlog.get_logger()
        log.critical("ledger and engine differ, posting stopped", seq=mismatch.seq, detail=mismatch.detail)

    async def wait_for(self, seq: int, timeout_s: float) -> bool:
        """Waits until event `seq` is posted; False where that takes too long."""
        return await self.wait_until(lambda: self._position.seq >= seq, timeout_s)

    async def release_at_the_end(self) -> None:
        """Lets those who wait go when the ledger stops: nothing more will be posted by this process."""
        try:
            await asyncio.Event().wait()
        finally:
            self.is_over = True
            async with self._moved:
                self._moved.notify_all()

    async def wait_until(self, holds: Callable[[], bool], timeout_s: float) -> bool:
        """Waits until a condition holds after some batch; False where that takes too long."""
        try:
            async with self._moved, asyncio.timeout(timeout_s):
                await self._moved.wait_for(lambda: self.is_over or holds())
        except TimeoutError:
            return False
        return holds()

    async def _post_all(self) -> None:
        caught_up = partial(self._readiness.done, CAUGHT_UP)
        records_max = self._settings.ledger_batch_events_max
        await follow_from(self._settings, self._restore, self._post, caught_up, records_max=records_max)

    async def _restore(self) -> Position:
        position = await self._store.position()
        seq, self._balances = await self._store.balances()
        while seq != position.seq:  # a commit whose answer was lost has become visible between the two
            position = await self._store.position()
            seq, self._balances = await self._store.balances()
        structlog.get_logger().info("posting", seq=position.seq, accounts=len(self._balances))
        await self._move_to(position)
        return position

    async def _post(self, position: Position, batch: EventBatch) -> None:
        before = await self._store.delivered(corrected_positions(batch.events))
        plan = plan_batch(batch.events, self._balances, before)
        await self._store.post(plan, position, batch.position)
        self._balances.update(plan.balances)
        metrics.EVENTS.inc(len(batch.events))
        metrics.TRANSFERS.inc(len(plan.transfers))
        metrics.SEQ.set(batch.last_seq)
        await self._move_to(batch.position)

    async def _move_to(self, position: Position) -> None:
        async with self._moved:
            self._position = position
            self._moved.notify_all()

    async def _patiently(self, ask: Callable[[], Awaitable[Result]]) -> Result:
        while True:
            try:
                return await ask()
            except DatabaseAway as error:
                structlog.get_logger().warning("waiting for PostgreSQL", error=str(error))
                await asyncio.sleep(self._settings.reconnect_delay_s)
