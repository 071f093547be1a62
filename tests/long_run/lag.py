"""How late this machine runs, and when the venue on it did not answer: what the test sees of both by itself."""

import time
from threading import Event, Thread

import httpx

from tests.long_run.machine import now_ms
from tests.long_run.truth import Moment, Span, Trouble, union

TICK_S = 0.05
NOTABLE_MS = 20
PROBE_S, SLOW_S = 0.5, 1.0
TOUCH_MS = 50


class LagMeter:
    """A thread that sleeps a little, and remembers by how much it overslept and when."""

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


class VenueWatch:
    """Asks delivery twice a second whether it is there; where it answers late or not at all, the venue was away.

    On a starved machine that comes without anybody's doing, and is excused all the same.
    """

    def __init__(self, address: str) -> None:
        self._url = f"{address}/readyz"
        self._spans: list[Span] = []
        self._over = Event()
        self._thread = Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the watch."""
        self._over.set()
        self._thread.join()

    def outages(self) -> list[Trouble]:
        """Returns when the venue did not answer as it should."""
        return [
            Trouble("outage", Moment(start_ms, start_ms), Moment(end_ms, end_ms))
            for start_ms, end_ms in union(self._spans)
        ]

    def _watch(self) -> None:
        with httpx.Client(timeout=SLOW_S * 2) as http:
            while not self._over.wait(PROBE_S):
                began_ms, began = now_ms(), time.monotonic()
                try:
                    is_well = http.get(self._url).status_code == 200
                except httpx.HTTPError:
                    is_well = False
                if not is_well or time.monotonic() - began > SLOW_S:
                    self._spans.append((began_ms, now_ms() + int(PROBE_S * 1000) + TOUCH_MS))
