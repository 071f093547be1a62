"""A GPU's passport: what all its reports have shown, kept as they come in, for whoever buys the GPU one day."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, replace

from schemas.gpu_health import DEGRADING_XIDS, FATAL_XIDS
from schemas.nodes import GpuReading, NodeReported

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


def after_reading(known: GpuHistory | None, reading: GpuReading, received_ms: int, window_ms: int) -> GpuHistory:
    """Returns the history with one reading more; a GPU that did not answer adds nothing but its XIDs."""
    history = known or GpuHistory(reading.uuid, received_ms, received_ms)
    xids = _worst_xids({*xids_of(history), *reading.xid})
    history = replace(history, last_ms=max(history.last_ms, received_ms), xids=",".join(map(str, xids)))
    if not reading.present or reading.blind:
        return history
    counted_ms = min(max(window_ms, 0), WINDOW_MS_MAX)
    return replace(
        history,
        reports=history.reports + 1,
        reported_ms=history.reported_ms + counted_ms,
        throttled_ms=history.throttled_ms + (counted_ms if (reading.throttle or 0) & THROTTLE_MASK else 0),
        temperature_c_max=_highest(history.temperature_c_max, reading.temperature_c),
        remap_failed=history.remap_failed or reading.remap_failed,
        counters_went_back=history.counters_went_back or went_back(history, reading),
        **{name: _highest(getattr(history, name), getattr(reading, name)) for name in COUNTERS},
    )


def went_back(history: GpuHistory, reading: GpuReading) -> bool:
    """Whether a lifetime counter is lower than it was shown before: the board or its record was tampered with."""
    pairs = ((getattr(history, name), getattr(reading, name)) for name in COUNTERS)
    return any(before is not None and now is not None and now < before for before, now in pairs)


def xids_of(history: GpuHistory) -> tuple[int, ...]:
    """Returns the XIDs that a GPU ever raised, in ascending order."""
    return tuple(int(text) for text in history.xids.split(",") if text)


def _worst_xids(xids: Collection[int]) -> list[int]:
    """Returns as many XIDs as are kept, in ascending order: harmless ones never push out one that says something."""
    ranked = sorted(xids, key=lambda xid: (xid not in FATAL_XIDS, xid not in DEGRADING_XIDS, xid))
    return sorted(ranked[:XIDS_MAX])


def _highest(before: int | None, now: int | None) -> int | None:
    return max((value for value in (before, now) if value is not None), default=None)


class Readings:
    """Readings of one transaction, gathered so that a batch of reports costs two statements, not two each."""

    def __init__(self):
        self._gathered: list[tuple[GpuReading, int, int]] = []

    def add(self, record: NodeReported, own_gpus: Collection[str]) -> None:
        """Takes the readings of a report that has its place in the chain, one of each GPU that is the node's own.

        What a node says of others' GPUs goes into nobody's record.
        """
        window_ms = record.report.mono_end_ms - record.report.mono_start_ms
        own = {reading.uuid: reading for reading in record.report.gpus if reading.uuid in own_gpus}
        self._gathered += [(reading, record.received_ms, window_ms) for reading in own.values()]

    def uuids(self) -> list[str]:
        """Names the GPUs that were read."""
        return sorted({reading.uuid for reading, _, _ in self._gathered})

    def fold(self, known: dict[str, GpuHistory]) -> list[list[object]]:
        """Returns the new histories column by column, and forgets the readings."""
        made: dict[str, GpuHistory] = {}
        for reading, received_ms, window_ms in self._gathered:
            before = made.get(reading.uuid) or known.get(reading.uuid)
            made[reading.uuid] = after_reading(before, reading, received_ms, window_ms)
        self._gathered = []
        return columns_of([made[uuid] for uuid in sorted(made)])


def columns_of(histories: Sequence[GpuHistory]) -> list[list[object]]:
    """Returns one list a column, as `unnest` takes them."""
    return [[getattr(history, name) for history in histories] for name in COLUMNS]
