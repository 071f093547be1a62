"""Reports that the venue has acknowledged, kept until nobody can ask for them any more, in small compressed files."""

import gzip
import time
import zlib
from itertools import pairwise
from pathlib import Path

from pydantic import ValidationError

from agents.node.state import StateFolder
from schemas.nodes import Report, message_hash

FOLDER = "reports"
SEGMENT_BYTES = 262_144
KEPT_BYTES_MAX = 64 * 2**20
KEPT_DAYS = 7.0
SECONDS_A_DAY = 86_400


class KeptReports:
    """Acknowledged reports, oldest dropped first beyond `bytes_max` or `days`; with `bytes_max` 0 none are kept.

    The file in use is plain lines, a full one is compressed. A line that cannot be read ends what is offered before it:
    what is sent again must be without holes.
    """

    def __init__(self, state: StateFolder, bytes_max: int = KEPT_BYTES_MAX, days: float = KEPT_DAYS) -> None:
        self._state, self._bytes_max, self._days = state, bytes_max, days
        self._folder = state.path / FOLDER
        self._current: Path | None = None
        self._size = 0

    def add(self, report: Report) -> None:
        """Keeps one more; a disk that does not take it costs this copy alone."""
        if not self._bytes_max:
            return
        line = report.canonical() + b"\n"
        try:
            if self._current is None or self._size + len(line) > SEGMENT_BYTES:
                self._begin(report.seq)
            with self._current.open("ab") as file:
                file.write(line)
            self._size += len(line)
        except OSError as error:
            self._current = None
            self._state.cannot_write(error)

    def after(self, seq: int, at_most: int) -> list[Report]:
        """Returns the last `at_most` kept reports with a higher number, without holes between them."""
        found: list[Report] = []
        for file in reversed(self._files()):
            part = [report for report in _read(file) if report.seq > seq]
            found = [*part, *found]
            if len(found) >= at_most or _first_of(file) <= seq + 1:
                break
        return _without_holes(_once_each(found))[-at_most:]

    def _begin(self, seq: int) -> None:
        self._folder.mkdir(exist_ok=True, mode=0o700)
        for full in self._folder.glob("*.lines"):
            packed = gzip.compress(full.read_bytes())
            self._state.write_bytes(f"{FOLDER}/{full.stem}.gz", packed)
            full.unlink()
        self._current, self._size = self._folder / f"{seq:019}.lines", 0
        self._drop_old()

    def _drop_old(self) -> None:
        files = [(file, file.stat()) for file in self._files()]
        left = sum(status.st_size for _, status in files)
        for file, status in files:
            is_old = time.time() - status.st_mtime > self._days * SECONDS_A_DAY
            if left <= self._bytes_max and not is_old:
                return
            file.unlink()
            left -= status.st_size

    def _files(self) -> list[Path]:
        found = [*self._folder.glob("*.gz"), *self._folder.glob("*.lines")]
        return sorted((file for file in found if file.stem.isascii() and file.stem.isdigit()), key=_first_of)


def _first_of(file: Path) -> int:
    return int(file.stem)


def _read(file: Path) -> list[Report]:
    try:
        raw = file.read_bytes()
        content = gzip.decompress(raw) if file.suffix == ".gz" else raw
    except (OSError, EOFError, ValueError, zlib.error):
        return []
    reports: list[Report] = []
    for line in content.split(b"\n")[:-1]:
        try:
            reports.append(Report.model_validate_json(line))
        except ValidationError:
            reports = []
    return reports


def _once_each(reports: list[Report]) -> list[Report]:
    """Leaves out what was kept again: what a venue lost is sent again, acknowledged again, and the same report."""
    return list({report.signature: report for report in reports}.values())


def _without_holes(reports: list[Report]) -> list[Report]:
    """Returns the longest end of a list in which each report follows the one before."""
    first = 0
    for place, (before, report) in enumerate(pairwise(reports), start=1):
        if report.seq != before.seq + 1 or report.prev_hash != message_hash(before):
            first = place
    return reports[first:]
