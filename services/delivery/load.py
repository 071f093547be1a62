"""Whether power, clocks and energy fit the load that a GPU's readings claim: averages over minutes, within wide bounds.

What is found is a suspicion, never guilt: it holds the node's level. Where the driver does not tell a figure nothing is
held against it. Bounds follow from public figures. At full load a GPU draws more than a sixteenth of its board power:
already a CUDA context adds 26 to 66 W to an idle H100, A100 or L40S (arXiv:2605.23918). It clocks above half the lowest
base clock of the boards in `schemas/gpu_models.py`, 765 MHz (A100 40GB PCIe, NVIDIA product brief PB-10137-001), unless
it says what slows it down; an idle H100 shows 345 MHz.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from schemas.nodes import GpuReading
from services.delivery.tables import BadTable, read_table

IMPLAUSIBLE_LOAD = "implausible_load"
LOADED_PERCENT_MIN = 90
FLOOR_PARTS = 16
TOP_PERMILLE = 1_500  # of the board power, averaged: boards can be set above it
BASE_CLOCK_MHZ_MIN = 765
UNSLOWED = (0, 0x1)  # NVML's clock event reasons: none, or that the GPU idles
ENERGY_FACTOR_MAX = 4  # single readings of power miss bursts; their average over minutes is not off by more than this
ENERGY_APART_MW_MIN = 20_000
RESET_MW = 3_000_000  # a counter that fell to what this could have added meanwhile began anew, with its driver
PAIR_MS_MAX = 60_000


@dataclass
class Average:
    """A sum of milliwatts over time."""

    mw_ms: int = 0
    ms: int = 0

    def add(self, mw: int, ms: int) -> None:
        """Counts a power for a time."""
        self.mw_ms += mw * ms
        self.ms += ms

    @property
    def mw(self) -> int:
        """The average, in milliwatts."""
        return self.mw_ms // self.ms if self.ms else 0


class LoadTally:
    """What some readings of one GPU in a row have shown of its load."""

    __slots__ = ("_last", "clocked_ms", "energy", "energy_fell", "loaded", "paired", "power", "slow_ms")

    def __init__(self) -> None:
        self._last: tuple[str, int, int, int] | None = None
        self.power, self.loaded = Average(), Average()
        self.energy, self.paired = Average(), Average()  # by the counter, and by the readings beside it
        self.clocked_ms = self.slow_ms = 0
        self.energy_fell = False

    def add(self, reading: GpuReading, boot_id: str, window_ms: int, end_ms: int) -> None:
        """Counts a reading at the end of a window, whose end on the node's monotonic clock is `end_ms`."""
        if not reading.present or reading.blind:
            return
        power_mw, energy_mj = reading.power_mw, reading.energy_mj
        counted_ms = min(window_ms, PAIR_MS_MAX)
        is_loaded = (reading.utilisation_percent or 0) >= LOADED_PERCENT_MIN
        if power_mw is not None:
            self.power.add(power_mw, counted_ms)
            if is_loaded:
                self.loaded.add(power_mw, counted_ms)
            if energy_mj is not None:
                self._count_energy(boot_id, end_ms, energy_mj, power_mw)
        if is_loaded and reading.sm_clock_mhz is not None and reading.throttle is not None:
            self.clocked_ms += counted_ms
            if reading.sm_clock_mhz * 2 < BASE_CLOCK_MHZ_MIN and reading.throttle in UNSLOWED:
                self.slow_ms += counted_ms

    def _count_energy(self, boot_id: str, end_ms: int, energy_mj: int, power_mw: int) -> None:
        before, self._last = self._last, (boot_id, end_ms, energy_mj, power_mw)
        if before is None or before[0] != boot_id:
            return
        _, before_ms, before_mj, before_mw = before
        passed_ms, grown_mj = end_ms - before_ms, energy_mj - before_mj
        if grown_mj < 0:
            self.energy_fell = self.energy_fell or energy_mj * 1000 > RESET_MW * passed_ms
        elif 0 < passed_ms <= PAIR_MS_MAX:
            self.energy.add(grown_mj * 1000 // passed_ms, passed_ms)
            self.paired.add((power_mw + before_mw) // 2, passed_ms)

    def doubt(self, tdp_w: int | None, least_ms: int) -> str:
        """Says in one line what cannot be, "" where nothing speaks against the readings.

        `tdp_w` is the board's power, None where no figure is known. Less time than `least_ms` proves nothing.
        """
        if self.energy_fell:
            return "its energy counter fell within a boot, to where no new one could be"
        if self.clocked_ms >= least_ms and self.slow_ms == self.clocked_ms:
            return f"at full load it clocked below {BASE_CLOCK_MHZ_MIN / 2:g} MHz, and named nothing that slows it down"
        if tdp_w is not None:
            if self.loaded.ms >= least_ms and self.loaded.mw * FLOOR_PARTS < tdp_w * 1000:
                return f"at full load it drew {self.loaded.mw / 1000:.0f} W of {tdp_w} W"
            for measured in (self.power, self.energy):
                if measured.ms >= least_ms and measured.mw > tdp_w * TOP_PERMILLE:
                    return f"it drew {measured.mw / 1000:.0f} W, a board of {tdp_w} W"
        if self.energy.ms >= least_ms and _are_apart(self.energy.mw, self.paired.mw):
            words = f"{self.energy.mw / 1000:.0f} W, its power readings {self.paired.mw / 1000:.0f} W"
            return f"its energy counter says {words}"
        return ""


def _are_apart(one_mw: int, other_mw: int) -> bool:
    low_mw, high_mw = sorted((one_mw, other_mw))
    return high_mw > low_mw * ENERGY_FACTOR_MAX and high_mw - low_mw >= ENERGY_APART_MW_MIN


@lru_cache
def read_board_powers(path: Path) -> dict[str, int]:
    """Returns the board power of each grade, in watts. Raises BadTable for a file that cannot be used."""
    powers: dict[str, int] = {}
    for line, row in read_table(path, {"grade": _named, "tdp_w": _watts, "source": _named}):
        if row["grade"] in powers:
            raise BadTable(path, line, "1 (grade)", "has a line already")
        powers[row["grade"]] = row["tdp_w"]
    return powers


def _named(text: str) -> str:
    if not text:
        raise ValueError("is empty")
    return text


def _watts(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 10_000:
        raise ValueError(f"{text!r} is no number of watts")
    return int(text)
