"""How long the event loop of this service kept everyone waiting: time that is nobody's fault but ours.

A challenge is timed by when its answer is read. Where the loop was busy meanwhile, an honest node looks slow. So a node
fails only where it fails without that time, and passes only where it passes with it; in between nothing is decided.
"""

import asyncio
from collections import deque

from services.delivery.releases import clock_us

TICK_US = 20_000
LAG_US_MIN = 2_000  # what a timer is late on a machine at rest
KEPT_US = 300_000_000


class LoopLag:
    """The loop's delays of late, each at its end, in microseconds of `clock_us`."""

    def __init__(self) -> None:
        self._late: deque[tuple[int, int]] = deque()

    def note(self, end_us: int, lag_us: int) -> None:
        """Notes a delay."""
        self._late.append((end_us, lag_us))
        while self._late[0][0] < end_us - KEPT_US:
            self._late.popleft()

    def within(self, from_us: int, to_us: int) -> int:
        """Returns how much of the time between two moments the loop was late."""
        total_us = 0
        for end_us, lag_us in reversed(self._late):
            if end_us <= from_us:
                break
            total_us += max(0, min(end_us, to_us) - max(end_us - lag_us, from_us))
        return total_us

    async def run(self) -> None:
        """Watches for ever."""
        while True:
            due_us = clock_us() + TICK_US
            await asyncio.sleep(TICK_US / 1_000_000)
            now_us = clock_us()
            if now_us - due_us >= LAG_US_MIN:
                self.note(now_us, now_us - due_us)
