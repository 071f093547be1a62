"""Which calls of NVML fail: one line when it begins, one when it is over, and a count of all."""

import logging
import time
from collections import Counter
from collections.abc import Mapping

# What many boards and drivers do not have; silence is the answer to it.
OPTIONAL_CALLS = frozenset(
    {
        "nvmlDeviceGetSerial",
        "nvmlDeviceGetBoardPartNumber",
        "nvmlDeviceGetRemappedRows",
        "nvmlDeviceGetMigMode",
        "nvmlDeviceGetFieldValues",
        "nvmlDeviceGetGpuFabricInfoV",
        "nvmlDeviceGetNvLinkState",
        "nvmlDeviceGetMPSComputeRunningProcesses_v3",
        "nvmlDeviceGetMPSComputeRunningProcesses",
        "nvmlDeviceGetGraphicsRunningProcesses",
        "nvmlDeviceGetTotalEccErrors",
        "nvmlDeviceGetTotalEnergyConsumption",
    }
)
NOT_THERE = (3, 13)  # NVML_ERROR_NOT_SUPPORTED, NVML_ERROR_FUNCTION_NOT_FOUND
QUIET_S = 600.0
log = logging.getLogger("hourbook.agent")


class CallFailures:
    """Remembers for each GPU which of its calls fail now."""

    def __init__(self) -> None:
        self.counts: Counter = Counter()
        self._failing: dict[str, dict[str, tuple[int, str]]] = {}
        self._said_at: dict[tuple[str, str, int], float] = {}
        self._standing: set[tuple[str, str]] = set()

    def take(self, who: str, failed: Mapping[str, tuple[int, str]]) -> None:
        """Takes one round's failures of one GPU, a call's name with NVML's code and name for it."""
        now, before = {name: tuple(failure) for name, failure in failed.items()}, self._failing.get(who, {})
        self.counts.update((name, code) for name, (code, _) in now.items())
        changed = [name for name, failure in now.items() if before.get(name) != failure]
        began = [name for name in changed if self._is_news(who, name, now[name])]
        if began:
            answers = ", ".join(_in_words(name, *now[name]) for name in began)
            log.warning("%s: %s; its values count as unknown", who, answers)
        over = [name for name in before if name not in now and (who, name) in self._standing]
        self._standing -= {(who, name) for name in over}
        if over:
            log.info("%s: %s answers again", who, ", ".join(over))
        self._failing[who] = now

    def _is_news(self, who: str, name: str, failure: tuple[int, str]) -> bool:
        if name in OPTIONAL_CALLS and failure[0] in NOT_THERE:
            return False
        about = (who, name, failure[0])
        at = self._said_at.get(about)
        if at is not None and time.monotonic() - at < QUIET_S:
            return False
        self._said_at[about] = time.monotonic()
        self._standing.add((who, name))
        return True


def _in_words(name: str, code: int, words: str) -> str:
    return f"{name} answers {code} ({words})" if code else f"{name or 'a call'} {words}"
