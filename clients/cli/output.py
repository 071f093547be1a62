"""What every command shares: how it prints, as a person reads it or as JSON, and how it refuses."""

import json as json_codec
import os
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console
from rich.table import Table

WIDTH_MAX = 4_000


class CommandError(Exception):
    """The command cannot be carried out; the message is one clear line, `status` the exit status."""

    status = 1


class OutcomeUnknown(CommandError):
    """Nobody knows whether the command was carried out: it may have been. The same again under the same id is safe."""

    status = os.EX_TEMPFAIL


def show(data: Any, *, json: bool) -> None:
    """Print plain data: as one JSON document, or as a table (list of rows) or `name  value` lines (mapping)."""
    if json:
        print(json_codec.dumps(data, ensure_ascii=False))
    elif isinstance(data, list):
        show_rows(data)
    elif isinstance(data, dict):
        lines = dict(flatten(data))
        width = max((len(name) for name in lines), default=0)
        for name, value in lines.items():
            print(f"{name:<{width}}  {text_of(value)}".rstrip())
    else:
        print(data)


def show_reply(reply: dict[str, Any], shown: Callable[[dict[str, Any]], Any], *, json: bool) -> int:
    """Prints an answer, for a person what is `shown` of it; returns the exit status, which says whether anybody knows
    what became of the request.
    """
    if reply.get("order_state") == "unknown" or reply.get("state") == "pending":
        show(reply, json=json)
        return OutcomeUnknown.status
    show(reply if json else shown(reply), json=json)
    return 0


def text_of(value: Any) -> str:
    """A value as a person reads it: nothing for none, words for truth, a list's parts beside each other."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return " ".join(map(text_of, value))
    return str(value)


def flatten(data: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of a mapping with those of mappings in it, whose names are joined with points."""
    for name, value in data.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def show_rows(rows: list[dict[str, Any]]) -> None:
    """Print rows that share their keys as a table; an empty list is said in words. Nothing is cut off."""
    if not rows:
        print("nothing to show")
        return
    table = Table(box=None, pad_edge=False)
    for name in rows[0]:
        table.add_column(name, justify="right" if isinstance(rows[0][name], int) else "left", no_wrap=True)
    for row in rows:
        table.add_row(*map(text_of, row.values()))
    Console(width=WIDTH_MAX).print(table)
