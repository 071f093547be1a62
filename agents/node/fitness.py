"""Why the agent does not offer a GPU now: what would not conform, or belongs to somebody, is not sold."""

import logging
from typing import Protocol

from schemas.gpu_health import HARDWARE_THROTTLE, THROTTLED, UNHEALTHY, degradation_of, fault_of
from schemas.nodes import GpuReading

QUIET = frozenset({"other"})
TENANT_AND_QUIET = frozenset({"other", "lease", "unknown"})
# A hardware slowdown counts, and is over, after so many readings in a row: it comes and goes under load.
THROTTLED_READINGS = 3
WORDS = {
    "meter_blind": "NVML does not answer for it",
    "gpu_lost": "it is lost",
    "processes_unknown": "nobody can list its processes",
    "not_idle_with_process": "a process that is no buyer's is on it",
    "busy_without_process": "it is busy though no process shows",
    "busy": "it is busy",
    "memory_without_process": "its memory is in use though no process shows",
    "row_remap_pending": "a row remap waits for a reset of the GPU",
    "mig_enabled": "MIG is on",
    "recovery_action": "the driver asks for a reset or a reboot",
    "ecc_uncorrected": "uncorrectable memory errors were counted; reboot, or reset the GPU",
    "fabric_not_ready": "its NVLink fabric is not ready (is the fabric manager running?)",
    "nvlink_down": "an NVLink is down",
    THROTTLED: "its hardware slows it down",
}
log = logging.getLogger("hourbook.agent")


def reason_in_words(reason: str) -> str:
    """Returns what a reason for which a GPU is not offered means."""
    return WORDS.get(reason, "the agent calls it unhealthy" if reason == UNHEALTHY else reason)


class Idle(Protocol):
    """What counts as idle; the policy's `idle` table."""

    utilisation_below_percent: int
    memory_below_mib: int


def hindrance_of(
    reading: GpuReading, leased: bool, rule: Idle, whole_node: bool = False, own_load: bool = False
) -> str:
    """Returns why a GPU cannot serve a new buyer now, "" where it can.

    A leased GPU may be busy: that is its buyer. So may one with `own_load`: that is the agent's own proof.
    """
    if fault := fault_of(reading, 0):
        return fault
    if degraded := reading.withheld or degradation_of(reading, whole_node):
        return degraded
    if reading.processes_unknown:
        return "processes_unknown"
    if any(process.whose not in (TENANT_AND_QUIET if leased else QUIET) for process in reading.processes):
        return "not_idle_with_process"
    if leased or own_load:
        return ""
    if (reading.utilisation_percent or 0) >= rule.utilisation_below_percent:
        return "busy" if reading.processes else "busy_without_process"
    if (reading.memory_used_mib or 0) >= rule.memory_below_mib and not reading.processes:
        return "memory_without_process"
    return ""


class Throttling:
    """Counts readings in a row with, or without, a slowdown by the hardware."""

    def __init__(self) -> None:
        self._throttled: dict[str, bool] = {}
        self._unlike: dict[str, int] = {}

    def observe(self, reading: GpuReading) -> bool:
        """Takes one reading; tells whether the GPU counts as throttled."""
        shows, uuid = bool((reading.throttle or 0) & HARDWARE_THROTTLE), reading.uuid
        before = self._throttled.get(uuid, False)
        self._unlike[uuid] = self._unlike.get(uuid, 0) + 1 if shows != before else 0
        if self._unlike[uuid] >= THROTTLED_READINGS:
            self._throttled[uuid], self._unlike[uuid] = shows, 0
        return self._throttled.get(uuid, False)


class Offerability:
    """Says in the log, once for each change, which GPU is offered and which is not, and why."""

    def __init__(self) -> None:
        self._throttling = Throttling()
        self._known: dict[str, str] = {}

    def judge(self, reading: GpuReading, leased: bool, rule: Idle, whole_node: bool, own_load: bool = False) -> str:
        """Returns why a GPU is not to be offered, "" where it is."""
        throttled = self._throttling.observe(reading)
        reason = hindrance_of(reading, leased, rule, whole_node, own_load) or (THROTTLED if throttled else "")
        if reason != self._known.get(reading.uuid, ""):
            if reason:
                log.warning("%s is not offered: %s (%s)", reading.uuid, reason_in_words(reason), reason)
            else:
                log.info("%s may be offered again", reading.uuid)
        self._known[reading.uuid] = reason
        return reason
