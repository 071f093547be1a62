"""Notices that the broker's clock jumped: the log's time stands still behind it, or has run ahead of everybody's."""

import time
from collections.abc import Callable

import structlog

PAGE = "docs/runbooks/clock-jumped.md"


class ClockWatch:
    """Compares the broker's stamps with the time that passed here; each jump is logged once."""

    def __init__(self, jump_ms_min: int, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._jump_ms_min, self._monotonic_s = jump_ms_min, monotonic_s
        self._last: tuple[int, float] | None = None

    def look(self, stamp_ms: int) -> int:
        """Take the stamp of a record that was appended just now; return how far the clock jumped, 0 if it did not."""
        now_s = self._monotonic_s()
        last, self._last = self._last, (stamp_ms, now_s)
        if last is None:
            return 0
        jump_ms = stamp_ms - last[0] - int((now_s - last[1]) * 1000)
        if abs(jump_ms) < self._jump_ms_min:
            return 0
        log = structlog.get_logger()
        log.error("the broker's clock jumped", jump_ms=jump_ms, stamp_ms=stamp_ms, see=PAGE)
        return jump_ms
