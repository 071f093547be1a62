"""A GPU's passport: what all its reports have shown, for whoever buys it one day; and the tally of some of them."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, fields

from schemas.gpu_health import DEGRADING_XIDS, FATAL_XIDS
from schemas.nodes import GpuReading

# NVML's clock event reasons that speak of heat or power going wrong, not of idling or of a limit that was set:
# HW slowdown, SW thermal, HW thermal, HW power brake.
THROTTLE_MASK = 0x8 | 0x20 | 0x40 | 0x80
COUNTERS = ("ecc_corrected", "ecc_uncorrected", "remapped_correctable", "remapped_uncorrectable")
WINDOW_MS_MAX = 60_000  # a longer window proves no more than this of its GPU's time
XIDS_MAX = 32


@dataclass(frozen=True)
class GpuHistory:
    """What the reports of one GPU came to. Counters are the highest ever shown, null where none was ever told."""

    uuid: str
    first_ms: int
    last_ms: int
    reports: int = 0
    reported_ms: int = 0
    throttled_ms: int = 0
    temperature_c_max: int | None = None
    ecc_corrected: int | None = None
    ecc_uncorrected: int | None = None
    remapped_correctable: int | None = None
    remapped_uncorrectable: int | None = None
    remap_failed: bool = False
    xids: str = ""
    counters_went_back: bool = False


COLUMNS = tuple(field.name for field in fields(GpuHistory))


class GpuTally:
    """What some reports of one GPU, in a row, have shown: folded into its history by one statement."""

    __slots__ = (
        "counters",
        "first_ms",
        "highs",
        "last_ms",
        "lows",
        "remap_failed",
        "reported_ms",
        "reports",
        "temperature_c_max",
        "throttled_ms",
        "went_back",
        "xids",
    )

    def __init__(self, received_ms: int):
        self.first_ms = self.last_ms = received_ms
        self.reports = self.reported_ms = self.throttled_ms = 0
        self.temperature_c_max: int | None = None
        self.counters = self.lows = self.highs = (None,) * len(COUNTERS)
        self.remap_failed = self.went_back = False
        self.xids: list[int] = []

    def add(self, reading: GpuReading, received_ms: int, window_ms: int) -> None:
        """Counts one reading more; a GPU that did not answer adds nothing but its XIDs."""
        self.last_ms = max(self.last_ms, received_ms)
        if reading.xid:
            self.xids = worst_xids({*self.xids, *reading.xid})
        if not reading.present or reading.blind:
            return
        counted_ms = min(max(window_ms, 0), WINDOW_MS_MAX)
        self.reports += 1
        self.reported_ms += counted_ms
        if (reading.throttle or 0) & THROTTLE_MASK:
            self.throttled_ms += counted_ms
        temperature_c = reading.temperature_c
        if temperature_c is not None and (self.temperature_c_max is None or temperature_c > self.temperature_c_max):
            self.temperature_c_max = temperature_c
        self.remap_failed = self.remap_failed or reading.remap_failed
        counters = counters_of(reading)
        if counters != self.counters:
            self._count(counters)

    def _count(self, counters: tuple[int | None, ...]) -> None:
        """Takes counters that have changed. A lifetime counter that falls was tampered with, or its board was."""
        pairs = list(zip(self.highs, counters, strict=True))
        self.went_back = self.went_back or any(None not in pair and pair[1] < pair[0] for pair in pairs)
        self.lows = tuple(_outermost(min, pair) for pair in zip(self.lows, counters, strict=True))
        self.highs = tuple(_outermost(max, pair) for pair in pairs)
        self.counters = counters

    def row(self, uuid: str) -> tuple[object, ...]:
        """Returns the arguments of `fold_histories` for this GPU."""
        xids = ",".join(map(str, self.xids))
        times = (self.first_ms, self.last_ms, self.reports, self.reported_ms, self.throttled_ms)
        return (
            *(uuid, *times, self.temperature_c_max, *self.highs),
            *(self.remap_failed, xids, self.went_back, *self.lows),
        )


def counters_of(reading: GpuReading) -> tuple[int | None, ...]:
    """Returns the lifetime counters of a reading in the order of COUNTERS."""
    return (
        reading.ecc_corrected,
        reading.ecc_uncorrected,
        reading.remapped_correctable,
        reading.remapped_uncorrectable,
    )


def xids_of(history: GpuHistory) -> tuple[int, ...]:
    """Returns the XIDs that a GPU ever raised, in ascending order."""
    return tuple(int(text) for text in history.xids.split(",") if text)


def worst_xids(xids: Collection[int]) -> list[int]:
    """Returns as many XIDs as are kept, in ascending order: harmless ones never push out one that says something."""
    ranked = sorted(xids, key=lambda xid: (xid not in FATAL_XIDS, xid not in DEGRADING_XIDS, xid))
    return sorted(ranked[:XIDS_MAX])


def _outermost(choose, pair: Iterable[int | None]) -> int | None:
    return choose((value for value in pair if value is not None), default=None)
