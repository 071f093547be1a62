"""Finds the line of a TOML file on which a key stands; the standard library's parser tells only values."""

import tomllib
from collections.abc import Sequence
from typing import Any

LINES_MAX = 500  # the file is parsed once a line, and only when something in it is wrong


def line_of(text: str, path: Sequence[str | int]) -> int | None:
    """Returns the line, counted from 1, where a key's statement begins, or that of the last table above that is there.

    The first lines of a TOML file, up to the end of any statement, are a TOML file: the key stands in the statement
    with which it appears. None for the file as a whole, and for files of more than 500 lines.
    """
    lines = text.splitlines()
    if len(lines) > LINES_MAX:
        return None
    found, depth, begins = None, 0, 1
    for end in range(1, len(lines) + 1):
        try:
            document = tomllib.loads("\n".join(lines[:end]))
        except ValueError:
            continue  # inside a statement of several lines
        if (reached := _depth(document, path)) > depth:
            found, depth = _first_words(lines, begins), reached
        begins = end + 1
    return found


def _depth(value: Any, path: Sequence[str | int]) -> int:
    """Returns how many steps of a path are there."""
    for depth, step in enumerate(path):
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return depth
    return len(path)


def _first_words(lines: list[str], begins: int) -> int:
    """Skips the blank lines and comments before a statement."""
    while begins < len(lines) and lines[begins - 1].strip()[:1] in ("", "#"):
        begins += 1
    return begins
