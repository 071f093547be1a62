"""The venue's time as the node knows it, carried on by the monotonic clock: a jump of the wall clock is none."""

import time

ERROR_GROWTH_MS = 1.0


def mono_ms() -> int:
    """Returns the machine's monotonic clock in milliseconds."""
    return time.monotonic_ns() // 1_000_000


class VenueClock:
    """Estimates the venue's clock from its answers; quick answers tell it best, half their round trip is the error."""

    def __init__(self) -> None:
        self._offset_ms: float | None = None
        self._error_ms = 0.0

    def observe(self, server_ms: int, sent_ms: int, received_ms: int) -> None:
        """Takes the venue's time of an answer; `sent_ms` and `received_ms` are the monotonic clock around it.

        A worse estimate is passed over unless it contradicts the one at hand: then a clock has stepped, or the
        machine slept.
        """
        offset_ms, error_ms = server_ms - (sent_ms + received_ms) / 2, (received_ms - sent_ms) / 2
        known_ms = self._offset_ms
        self._error_ms += ERROR_GROWTH_MS
        steps = known_ms is not None and abs(offset_ms - known_ms) > error_ms + self._error_ms
        if known_ms is None or steps or error_ms <= self._error_ms:
            self._offset_ms, self._error_ms = offset_ms, error_ms

    def now_ms(self) -> int:
        """Returns the venue's time in milliseconds; the machine's own until the venue has answered once."""
        if self._offset_ms is None:
            return time.time_ns() // 1_000_000
        return int(mono_ms() + self._offset_ms)
