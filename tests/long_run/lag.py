"""How late this machine runs: a thread that sleeps a little, and remembers by how much it overslept and when."""

import time
from threading import Event, Thread

from tests.long_run.machine import now_ms

TICK_S = 0.05
NOTABLE_MS = 20


class LagMeter:
    """Measures for as long as it runs."""

    def __init__(self) -> None:
        self._stalls: list[tuple[int, int]] = []
        self._over = Event()
        self._thread = Thread(target=self._measure, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the measuring."""
        self._over.set()
        self._thread.join()

    def most_ms(self, start_ms: int, end_ms: int) -> int:
        """Returns the longest stall between two moments."""
        return max((late_ms for at_ms, late_ms in list(self._stalls) if start_ms <= at_ms <= end_ms), default=0)

    def _measure(self) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            time.sleep(TICK_S)
            late_ms = int((time.monotonic() - began - TICK_S) * 1000)
            if late_ms >= NOTABLE_MS:
                self._stalls.append((now_ms(), late_ms))
