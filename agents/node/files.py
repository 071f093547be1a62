"""Reads the operator's files: TOML, and programs that are to be run; what is wrong is one line that names the place."""

import re
import shutil
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from agents.node.errors import BadConfiguration
from agents.node.toml_lines import line_of
from schemas.base import Model
from schemas.complaints import complaint

FILE_BYTES_MAX = 1_000_000
CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
UTF8_MARK = b"\xef\xbb\xbf"

Contents = TypeVar("Contents", bound=Model)


def read_text(file: Path, what: str) -> str:
    """Returns a small text file's content, without a byte order mark. Raises BadConfiguration."""
    try:
        if file.is_fifo() or file.is_socket():
            raise BadConfiguration(f"{what} {file}: is a pipe or a socket, not a file")
        with file.open("rb") as opened:
            raw = opened.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError as error:
        raise BadConfiguration(f"{what} {file}: there is no such file") from error
    except IsADirectoryError as error:
        raise BadConfiguration(f"{what} {file}: is a folder, not a file") from error
    except (OSError, ValueError) as error:
        raise BadConfiguration(f"{what} {file}: cannot be read: {_reason(error)}") from error
    if len(raw) > FILE_BYTES_MAX:
        raise BadConfiguration(f"{what} {file}: has more than {FILE_BYTES_MAX} bytes")
    try:
        return raw.removeprefix(UTF8_MARK).decode()
    except UnicodeDecodeError as error:
        raise BadConfiguration(f"{what} {file}: is not UTF-8 text (byte {error.start})") from error


def read_toml(file: Path, what: str, kind: type[Contents]) -> Contents:
    """Reads a TOML file as a model. Raises BadConfiguration, whose problems each name their line and their key."""
    text = read_text(file, what)
    try:
        document = tomllib.loads(text)
    except ValueError as error:  # TOMLDecodeError, and what Python says of a number of thousands of digits
        raise BadConfiguration(f"{what} {file}: {error}") from error
    except RecursionError as error:
        raise BadConfiguration(f"{what} {file}: is nested too deeply") from error
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        said = zip(error.errors(), problems_of(error.errors()), strict=True)
        problems = tuple(f"{what} {file}: {_line(text, document, each)}{words}" for each, words in said)
        raise BadConfiguration("; ".join(problems), problems) from error


def problems_of(errors: Iterable[Mapping[str, Any]]) -> list[str]:
    """Puts each of pydantic's errors into words, after the key that it is about."""
    words = []
    for error in errors:
        key = ".".join(map(str, error["loc"]))
        said = {"extra_forbidden": "there is no such key", "missing": "is missing"}.get(error["type"])
        said = said or complaint(error).removeprefix("Value error, ").replace("Input should", "should")
        words.append(f"{key}: {said}" if key else said)
    return words


def _line(text: str, document: dict[str, Any], error: Mapping[str, Any]) -> str:
    """Returns `line 7: `, or nothing; one about a whole table has the line of the first key that it speaks of."""
    path = list(error["loc"])
    table: Any = document
    for step in path:
        try:
            table = table[step]
        except (KeyError, IndexError, TypeError):
            table = None
            break
    if isinstance(table, dict):
        path += [word for word in re.findall(r"[a-z_]+", str(error["msg"])) if word in table][:1]
    line = line_of(text, path) if path else None
    return f"line {line}: " if line else ""


def program_problem(command: tuple[str, ...]) -> str:
    """Says why a command cannot be run; empty where it can."""
    program = command[0] if command else ""
    if not program or "\0" in program:
        return "names no program"
    if "/" not in program:
        return "" if shutil.which(program) else f"{program} is not on PATH"
    if not Path(program).exists():
        return f"{program}: there is no such file"
    if Path(program).is_dir():
        return f"{program} is a folder, not a program"
    return "" if shutil.which(program) else f"{program} is not executable (chmod +x)"


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
