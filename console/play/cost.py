"""What the play itself costs: processor time of its own processes, never the exchange's, and a pace that bounds it."""

import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

import psutil

SHARE_MAX = 0.25
SHARE_AIM = 0.20
SLOWER, QUICKER = 1.25, 0.7
PACE_MAX = 4.0


class OwnCost:
    """Measures how much of one core this process and the given ones take, with whatever they start."""

    def __init__(self, pids: Callable[[], Iterable[int]]) -> None:
        self._pids = pids
        self._at, self._spent_s = time.monotonic(), self._read()

    def share(self) -> float:
        """Returns the part of one core that was taken since the last call."""
        now, spent_s = time.monotonic(), self._read()
        used_s, passed_s = spent_s - self._spent_s, now - self._at
        self._at, self._spent_s = now, spent_s
        return used_s / passed_s if passed_s > 0 else 0.0

    def _read(self) -> float:
        """Adds up processor seconds; those of a process that has ended are its parent's from then on."""
        spent_s = 0.0
        for pid in (os.getpid(), *self._pids()):
            with suppress(psutil.NoSuchProcess):
                spent_s += sum(psutil.Process(pid).cpu_times()[:4])
        return spent_s


def next_pace(pace: float, share: float) -> float:
    """Returns how much slower than usual to go on: slower above the aim, step by step as usual again below it."""
    if share > SHARE_AIM:
        return min(pace * SLOWER, PACE_MAX)
    return max(pace * QUICKER, 1.0)
