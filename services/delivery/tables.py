"""Data files of the venue: CSV with comments, each column read by a parser; what is wrong is said in one line."""

import csv
from collections.abc import Callable, Mapping
from pathlib import Path


class BadTable(Exception):
    """A data file that cannot be used: file, line, column and reason, in one line."""

    def __init__(self, path: Path, line: int, column: str, reason: str):
        place = f"{path}:{line}" + (f": column {column}" if column else "")
        super().__init__(f"{place}: {reason}")


def read_table(path: Path, columns: Mapping[str, Callable[[str], object]]) -> list[tuple[int, dict[str, object]]]:
    """Reads all rows of a file, each with its line number; a parser raises ValueError for a text that it refuses.

    Lines that are empty or begin with `#` are comments; the first other line names the columns, in this order. Raises
    BadTable.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is no UTF-8 text"
        raise BadTable(path, 1, "", f"cannot be read: {reason}") from error
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")]
    if not numbered:
        raise BadTable(path, 1, "", "has no line that names its columns")
    (head_number, head), *rest = numbered
    if _fields(path, head_number, head) != list(columns):
        raise BadTable(path, head_number, "", f"the columns are {','.join(columns)}, in this order")
    return [(number, _row(path, number, line, columns)) for number, line in rest]


def _fields(path: Path, number: int, line: str) -> list[str]:
    try:
        return next(csv.reader([line], strict=True))
    except csv.Error as error:
        raise BadTable(path, number, "", str(error)) from error


def _row(path: Path, number: int, line: str, columns: Mapping[str, Callable[[str], object]]) -> dict[str, object]:
    fields = _fields(path, number, line)
    if len(fields) != len(columns):
        raise BadTable(path, number, "", f"has {len(fields)} columns of {len(columns)}")
    row = {}
    for place, ((name, parse), text) in enumerate(zip(columns.items(), fields, strict=True), 1):
        try:
            row[name] = parse(text.strip())
        except ValueError as error:
            raise BadTable(path, number, f"{place} ({name})", str(error)) from error
    return row
