"""The reports that wait for the venue, however many: in memory is where each begins, the reports are in a file.

A venue that is away for a day leaves thousands. The file is a copy for quick access, without a name and never synced:
what a crash must not lose is in the journal.
"""

import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, overload

from schemas.nodes import Report

REPORTS_IN_MEMORY = 64


class WaitingReports(Sequence[Report]):
    """Reports in ascending order. While few wait they are in memory; what comes behind many is in the file.

    What the disk does not take is in memory as well.
    """

    def __init__(self, folder: Path, reports: Iterable[Report] = ()) -> None:
        self._folder = folder
        self._file: BinaryIO | None = None
        self._end = 0
        self._seqs, self._begins = array("q"), array("q")
        self._in_memory: dict[int, Report] = {}
        for report in reports:
            self.append(report)

    @property
    def in_memory(self) -> int:
        """How many reports are held in memory."""
        return len(self._in_memory)

    def append(self, report: Report) -> None:
        """Adds the next report."""
        begins = self._end
        if len(self) < REPORTS_IN_MEMORY or not self._write(report.canonical()):
            self._in_memory[report.seq] = report
        self._seqs.append(report.seq)
        self._begins.append(begins)

    def drop_through(self, seq: int) -> None:
        """Drops the reports up to a number."""
        gone = next((place for place, each in enumerate(self._seqs) if each > seq), len(self._seqs))
        for each in self._seqs[:gone]:
            self._in_memory.pop(each, None)
        del self._seqs[:gone], self._begins[:gone]
        if not self._seqs:
            self.close()

    def close(self) -> None:
        """Gives the file back; it goes with the last that knows it."""
        if self._file is not None:
            self._file.close()
        self._file, self._end = None, 0

    def _write(self, content: bytes) -> bool:
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115 (until `close`)
            self._file.seek(self._end)
            if self._file.write(content) != len(content):
                return False
        except OSError:
            return False
        self._end += len(content)
        return True

    def __len__(self) -> int:
        return len(self._seqs)

    @overload
    def __getitem__(self, index: int) -> Report: ...

    @overload
    def __getitem__(self, index: slice) -> list[Report]: ...

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self._at(place) for place in range(*index.indices(len(self)))]
        return self._at(range(len(self))[index])

    def __iter__(self) -> Iterator[Report]:
        return map(self._at, range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None

    def _at(self, place: int) -> Report:
        report = self._in_memory.get(self._seqs[place])
        if report is not None:
            return report
        begins = self._begins[place]
        ends = self._begins[place + 1] if place + 1 < len(self) else self._end
        self._file.seek(begins)
        return Report.model_validate_json(self._file.read(ends - begins))
