"""When nonces left the server: a challenge's time runs from the first answer that carried it.

These stamps live in memory, on the monotonic clock: after a restart every open challenge is given out again with a new
nonce, so that none outlives its stamp.
"""

import time
from collections.abc import Iterable

KEPT_US = 3_600_000_000


def clock_us() -> int:
    """Returns the server's monotonic clock in microseconds."""
    return time.monotonic_ns() // 1_000


class Releases:
    """The moment of each challenge's release, in microseconds of `clock_us`."""

    def __init__(self) -> None:
        self._left_us: dict[str, int] = {}
        self._swept_us: dict[str, int] = {}
        self._absent_us: dict[str, int] = {}

    def note(self, challenge_ids: Iterable[str]) -> None:
        """Notes that an answer with these challenges leaves now; only the first one counts."""
        now_us = clock_us()
        for challenge_id in challenge_ids:
            self._left_us.setdefault(challenge_id, now_us)
        _forget(self._left_us, now_us)

    def begin_sweep(self, challenge_ids: Iterable[str]) -> None:
        """Notes that the nonces of a sweep leave from now on."""
        now_us = clock_us()
        self._swept_us.update(dict.fromkeys(challenge_ids, now_us))
        _forget(self._swept_us, now_us)

    def note_absent(self, challenge_ids: Iterable[str]) -> None:
        """Notes whose nodes were not there when these challenges left together with others."""
        now_us = clock_us()
        self._absent_us.update(dict.fromkeys(challenge_ids, now_us))
        _forget(self._absent_us, now_us)

    def was_absent(self, challenge_id: str) -> bool:
        """Says whether a challenge's node was not there when it left."""
        return challenge_id in self._absent_us

    def since_sweep_us(self, challenge_id: str) -> int | None:
        """Returns how long after its sweep's beginning a challenge left; None where it belongs to none."""
        if challenge_id not in self._swept_us or challenge_id not in self._left_us:
            return None
        return self._left_us[challenge_id] - self._swept_us[challenge_id]

    def of(self, challenge_id: str) -> int | None:
        """Returns when a challenge first left, None for one that has not."""
        return self._left_us.get(challenge_id)


def _forget(stamps: dict[str, int], now_us: int) -> None:
    while (oldest := next(iter(stamps), None)) and now_us - stamps[oldest] > KEPT_US:
        del stamps[oldest]
