"""Bands: between which scores a proof by a grade's GPUs must lie, read from a file that names its sources.

A score counts the operations of a chain's products alone, over the time that the venue saw. Where a grade was measured
the band is what the runs gave; elsewhere its floor is a third of the maker's published dense INT8 rate, and nodes of
such a grade rise no higher than T1. A grade without a row has no band: nothing of it can be proven.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from pathlib import Path
from typing import Literal

from schemas.ids import lot_of
from services.delivery.domain import DeliveryError

COLUMNS = ("grade", "memory_mib", "int8_tops", "memory_gb_s", "low_tops", "high_tops", "runs", "measured_on", "source")
FLOOR_PARTS = 3  # an uncalibrated floor is the published rate over this
MIB = 2**20
TOO_SLOW, TOO_FAST = "too_slow", "too_fast"
LEVEL_MAX_UNCALIBRATED = "T1"

BandKind = Literal["measured", "uncalibrated", "simulated"]


class NoBand(DeliveryError):
    """No figure is on file by which a GPU of this grade could be told from a slower one."""

    code = "grade_without_band"


class BadBandFile(ValueError):
    """The band file cannot be used; the text names file, line and column."""


@dataclass(frozen=True)
class Band:
    """What proofs by one grade's GPUs are judged by. Rates are operations a second; a multiply-add is two. [D-29]"""

    grade: str
    kind: BandKind
    memory_mib: int
    low_ops_per_s: int
    high_ops_per_s: int
    memory_bytes_per_s: int
    source: str

    @property
    def level_max(self) -> str:
        """The highest level that a node of this grade can have."""
        return LEVEL_MAX_UNCALIBRATED if self.kind == "uncalibrated" else "T3"

    def judge(self, ops_per_s: int) -> str:
        """Returns "" for a score within the band, else the reason against it."""
        if ops_per_s < self.low_ops_per_s:
            return TOO_SLOW
        return TOO_FAST if ops_per_s > self.high_ops_per_s else ""


# GPUs that the stand-in library invents are proven by a CPU: any that answers before the deadline is in this band.
SIMULATED = Band("", "simulated", 0, 1_000, 10**14, 10**9, "the sandbox's own: it proves no capacity")


class Bands:
    """All bands of a file, by grade."""

    def __init__(self, path: Path, by_grade: Mapping[str, Band]):
        self._path, self._by_grade = path, by_grade

    def has(self, grade: str) -> bool:
        """Says whether real GPUs of a single grade can be proven."""
        return grade in self._by_grade

    def of(self, grade: str, simulated: bool) -> Band:
        """Returns the band of a node's grade, whether its GPUs are sold singly or together. Raises NoBand."""
        if simulated:
            return SIMULATED
        single = single_grade(grade)
        if single not in self._by_grade:
            words = f"no INT8 rate of {single} is on file ({self._path.name}), so its GPUs cannot be proven"
            raise NoBand(words)
        return self._by_grade[single]


def single_grade(grade: str) -> str:
    """Returns the grade of one GPU of a node that is sold as this."""
    return grade.removesuffix("X8") if lot_of(grade) > 1 else grade


@lru_cache
def read_bands(path: Path, margin_permille: int) -> Bands:
    """Reads a band file. The margin lies above the highest rate that is believed. Raises BadBandFile."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadBandFile(f"{path}: cannot be read: {error}") from error
    rows = csv.reader(lines, strict=True)
    try:
        header = next(rows, [])
        if tuple(header) != COLUMNS:
            raise BadBandFile(f"{path}, line 1: the columns must be {','.join(COLUMNS)}")
        found: dict[str, Band] = {}
        for values in rows:
            if not values:
                continue
            place = f"{path}, line {rows.line_num}"
            if len(values) != len(COLUMNS):
                raise BadBandFile(f"{place}: {len(values)} columns instead of {len(COLUMNS)}")
            band = _Row(place, dict(zip(COLUMNS, values, strict=True))).band(margin_permille)
            if band.grade in found:
                raise BadBandFile(f"{place}, column grade: {band.grade} has a line already")
            found[band.grade] = band
    except csv.Error as error:
        raise BadBandFile(f"{path}, line {rows.line_num}: {error}") from error
    return Bands(path, found)


class _Row:
    """One line, whose complaints name the column."""

    def __init__(self, place: str, values: Mapping[str, str]):
        self._place, self._values = place, values

    def band(self, margin_permille: int) -> Band:
        grade, source = self._text("grade"), self._text("source")
        memory_mib, published = int(self._number("memory_mib", 1)), self._rate("int8_tops")
        bandwidth = int(self._number("memory_gb_s", 10**9))
        if not any(self._values[name] for name in ("low_tops", "high_tops", "runs", "measured_on")):
            low, high, kind = published // FLOOR_PARTS, published, "uncalibrated"
        else:
            low, high, kind = self._rate("low_tops"), self._rate("high_tops"), "measured"
            self._number("runs", 1)
            self._day("measured_on")
            if low > high:
                raise self._complaint("low_tops", "is above high_tops")
            if high > published:
                raise self._complaint("high_tops", "is above the published rate int8_tops")
        top = high * (1000 + margin_permille) // 1000
        return Band(grade, kind, memory_mib, low, top, bandwidth, source)

    def _text(self, name: str) -> str:
        value = self._values[name]
        if not value.strip():
            raise self._complaint(name, "is empty")
        return value

    def _rate(self, name: str) -> int:
        return int(self._number(name, 10**12))

    def _number(self, name: str, unit: int) -> Decimal:
        try:
            value = Decimal(self._values[name])
        except InvalidOperation:
            raise self._complaint(name, f"{self._values[name]!r} is no number") from None
        if not value.is_finite() or value <= 0 or value * unit != int(value * unit):
            raise self._complaint(name, f"{self._values[name]} is no positive number of whole units")
        return value * unit

    def _day(self, name: str) -> None:
        try:
            date.fromisoformat(self._values[name])
        except ValueError:
            raise self._complaint(name, f"{self._values[name]!r} is no day like 2026-08-31") from None

    def _complaint(self, name: str, words: str) -> BadBandFile:
        return BadBandFile(f"{self._place}, column {name}: {words}")
