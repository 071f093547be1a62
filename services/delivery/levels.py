"""Levels by history, as pure rules: down at once and by itself, up by days and deliveries, one step at a time.

T0 has enrolled; T1 has proven all its GPUs. T2 and T3 are kept as long as what was sold was delivered, and reached by
keeping at it for so many days with so many hours sold. T3 needs an audit besides, for as long as it is valid.
"""

from dataclasses import dataclass

LEVELS = ("T0", "T1", "T2", "T3")
PROVEN = "T1"


@dataclass(frozen=True)
class Record:
    """What a node's settled positions of some time came to, in GPU-seconds; two-sided ones had a renter's meter."""

    positions: int = 0
    owed_gpu_s: int = 0
    delivered_gpu_s: int = 0
    two_sided: int = 0
    two_sided_gpu_s: int = 0
    disputed_gpu_s: int = 0

    def delivers(self, permille: int) -> bool:
        """Says whether at least so much of what was owed was delivered; where nothing was owed it was."""
        return self.delivered_gpu_s * 1000 >= self.owed_gpu_s * permille

    def agrees(self, permille: int) -> bool:
        """Says whether operators' and renters' meters were of one mind about at least so much."""
        return (self.two_sided_gpu_s - self.disputed_gpu_s) * 1000 >= self.two_sided_gpu_s * permille


@dataclass(frozen=True)
class Bar:
    """What a level above T1 asks for."""

    days: int
    delivered_permille: int
    agreed_permille: int
    positions_min: int
    two_sided_min: int
    needs_audit: bool

    def is_kept(self, record: Record, is_audited: bool) -> bool:
        """Says whether a node that has the level may keep it; a time without sales costs none."""
        if self.needs_audit and not is_audited:
            return False
        return record.delivers(self.delivered_permille) and record.agrees(self.agreed_permille)

    def is_reached(self, record: Record, is_audited: bool, days: int) -> bool:
        """Says whether a node has done what the level asks for."""
        has_sold = record.positions >= self.positions_min and record.two_sided >= self.two_sided_min
        return days >= self.days and has_sold and self.is_kept(record, is_audited)


@dataclass(frozen=True)
class Standing:
    """All that decides about a node's level.

    `days` are full ones since the node was first proven, or since it last fell. `level_max` is what the band of its
    grade allows. `records` has what was sold in the days that each bar looks back.
    """

    level: str
    is_held: bool
    level_max: str
    days: int
    records: dict[str, Record]
    is_audited: bool


def next_level(standing: Standing, bars: dict[str, Bar]) -> str:
    """Returns the level that a proven node, one that may sell, has from now on. [D-24]"""
    kept = min(standing.level, standing.level_max)
    while kept in bars and not bars[kept].is_kept(standing.records[kept], standing.is_audited):
        kept = LEVELS[LEVELS.index(kept) - 1]
    if kept < standing.level or standing.is_held or kept >= standing.level_max:
        return kept
    above = LEVELS[LEVELS.index(kept) + 1]
    if above not in bars or bars[above].is_reached(standing.records[above], standing.is_audited, standing.days):
        return above
    return kept
