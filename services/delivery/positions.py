"""Positions for their parties, by number; one that was sold a moment ago is waited for."""

import asyncio
import time
from collections.abc import Collection
from typing import Annotated

from pydantic import Field

from services.delivery.rows import Position
from services.delivery.settings import Settings
from services.delivery.store import Store
from services.kit.http import ProblemError
from services.kit.store import Pool

PositionId = Annotated[int, Field(ge=1, le=2**63 - 1)]
LOOK_S = 0.05


class RecentPositions:
    """Positions that the gateway has told of and that this service has not read of yet.

    The engine counts positions up. So a number above all that were read of may have been sold just now; one below is
    known, or was never a position.
    """

    def __init__(self, pool: Pool, settings: Settings):
        self._pool, self._wait_s = pool, settings.position_wait_ms / 1_000
        self._ahead_max = settings.positions_ahead_max
        self._last, self._looks_again_s = 0, 0.0
        self._turn = asyncio.Lock()

    async def wait_for(self, position_id: int) -> None:
        """Returns when events up to this position have been read, or when it was waited for long enough.

        Nobody waits in a transaction: the events need its turn.
        """
        until_s = time.monotonic() + self._wait_s
        while self._last < position_id:
            last = await self._look()
            if not last < position_id <= last + self._ahead_max or time.monotonic() >= until_s:
                return
            await asyncio.sleep(LOOK_S)

    async def _look(self) -> int:
        """Returns the last position that was read of; all who wait look once together."""
        async with self._turn:
            if time.monotonic() >= self._looks_again_s:
                self._last = await Store(self._pool).positions.last()
                self._looks_again_s = time.monotonic() + LOOK_S
        return self._last


async def position_of(store: Store, position_id: int, account: str, parties: Collection[str] = ("buyer",)) -> Position:
    """Returns a position of which the account is a party. Raises ProblemError: for others there is none."""
    position = await store.positions.find(position_id)
    if position is None or account not in {getattr(position, party) for party in parties}:
        raise ProblemError("not_found", f"you have no position {position_id}")
    return position
