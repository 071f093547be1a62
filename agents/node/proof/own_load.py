"""Which GPUs are busy with the agent's own proofs, and by which processes: no reason to take them off the market."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

# Processes that work on GPUs for this agent.
helper_pids: set[int] = set()


def own_pids() -> frozenset[int]:
    """Returns the numbers of the agent and of the processes that work on GPUs for it."""
    return frozenset({os.getpid()} | helper_pids)


class OwnLoad:
    """Remembers GPUs under proof, and those whose proof ended since the last reading: NVML's load lags behind."""

    def __init__(self) -> None:
        self._running: Counter[str] = Counter()
        self._ended: set[str] = set()

    @contextmanager
    def of(self, gpu_uuids: Sequence[str]) -> Iterator[None]:
        """Counts these GPUs as under proof while the block runs."""
        self._running.update(gpu_uuids)
        try:
            yield
        finally:
            self._running.subtract(gpu_uuids)
            self._running += Counter()
            self._ended.update(gpu_uuids)

    def take(self) -> frozenset[str]:
        """Returns the GPUs whose load since the last call was, at least in part, the agent's own."""
        busy = frozenset(self._running) | self._ended
        self._ended = set()
        return busy
