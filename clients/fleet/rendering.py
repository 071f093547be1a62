"""One file for the policies of many nodes: what they share, what groups and single nodes have apart, and their files.

nodes = ["gpu[001-200]"]         # names; each gets NAME/policy.toml

[policy]                         # as in policy.toml, for all; `label` is the node's name where nothing else is said
hub = "CNE"

[groups.spares]
nodes = ["gpu[190-200]"]
policy = { tier = "I", price = { floor = "3.00" } }

[node.gpu007]                    # the policy's keys, for one node
reserve_gpus = 2
"""

import os
import re
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from clients.cli.output import CommandError
from clients.toml_text import toml_of

NODES_MAX = 10_000
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
RANGE = re.compile(r"([^\[\],]*)\[([0-9,-]+)\]([^\[\],]*)")
HEAD = "# Made by `hourbook fleet render` from {source}: edit that, not this.\n"


def policies_of(file: Path) -> dict[str, str]:
    """Returns each node's policy as TOML, by its name. Raises CommandError with a line for each node without one."""
    document = _read(file)
    unknown = document.keys() - {"nodes", "policy", "groups", "node"}
    if unknown:
        raise CommandError(
            f"{file}: there is no key {', '.join(sorted(unknown))}; there are nodes, policy, groups, node"
        )
    names = names_in(document.get("nodes"), f"{file}: nodes")
    shared = _table(document.get("policy"), f"{file}: policy")
    changes: dict[str, list[dict]] = {name: [] for name in names}
    for group, terms in _table(document.get("groups", {}), f"{file}: groups").items():
        where = f"{file}: groups.{group}"
        terms = _table(terms, where)
        if terms.keys() != {"nodes", "policy"}:
            raise CommandError(f"{where}: should have nodes and policy, and nothing else")
        for name in names_in(terms["nodes"], f"{where}.nodes"):
            if name not in changes:
                raise CommandError(f"{where}.nodes: {name} is not among nodes")
            changes[name].append(_table(terms["policy"], f"{where}.policy"))
    for name, terms in _table(document.get("node", {}), f"{file}: node").items():
        if name not in changes:
            raise CommandError(f"{file}: node.{name}: is not among nodes")
        changes[name].append(_table(terms, f"{file}: node.{name}"))
    head = HEAD.format(source=file.name)
    return {name: head + toml_of(_joined([{"label": name}, shared, *changes[name]])) for name in names}


def check(policies: Mapping[str, str]) -> None:
    """Reads each policy as its agent will, except for its hooks. Raises CommandError with every fault found."""
    from agents.node.errors import BadConfiguration
    from agents.node.files import read_toml
    from agents.node.policy import Policy

    problems: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "policy.toml"
        for name, text in policies.items():
            file.write_text(text)
            try:
                read_toml(file, "policy", Policy)
            except BadConfiguration as error:
                # The line is one of a file that nobody has written yet: the key says where to look.
                words = (problem.removeprefix(f"policy {file}: ") for problem in error.problems)
                problems += [f"{name}: {re.sub(r'^line [0-9]+: ', '', each)}" for each in words]
    if problems:
        raise CommandError("no file is written: " + "; ".join(_by_words(problems)))


def changes(policies: Mapping[str, str], folder: Path) -> dict[str, list[str]]:
    """Returns the names whose file would be written, those that stay, and folders of nodes that are not named."""
    same = {name for name, text in policies.items() if _content(folder / name / "policy.toml") == text}
    rest = sorted(file.parent.name for file in folder.glob("*/policy.toml") if file.parent.name not in policies)
    written = [name for name in policies if name not in same]
    return {"written": written, "unchanged": [name for name in policies if name in same], "left_over": rest}


def write(policies: Mapping[str, str], folder: Path) -> dict[str, list[str]]:
    """Writes the files that differ, each in one step; returns what `changes` does. It deletes nothing."""
    done = changes(policies, folder)
    for name in done["written"]:
        file = folder / name / "policy.toml"
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_suffix(".new")
        draft.write_text(policies[name], encoding="utf-8")
        os.replace(draft, file)  # an agent that looks now reads the old one or the new one
    return done


def _content(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        return None


def names_in(value: Any, where: str) -> list[str]:
    """Spells out names with ranges: `gpu[001-003,7]`. Raises CommandError."""
    if not isinstance(value, list) or not value or not all(isinstance(each, str) for each in value):
        raise CommandError(f'{where}: should be a list of names such as ["gpu[001-200]"]')
    names: dict[str, None] = {}
    for text in value:
        for name in _spelled_out(text, where):
            if not NAME.fullmatch(name):
                raise CommandError(f"{where}: {name[:80]!r} should be a name of letters, digits and . _ -")
            names[name] = None
            if len(names) > NODES_MAX:
                raise CommandError(f"{where}: there are more than {NODES_MAX}")
    return list(names)


def _joined(tables: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Lays tables over each other: later values count, tables in them are joined likewise, lists are replaced."""
    joined: dict[str, Any] = {}
    for table in tables:
        for name, value in table.items():
            both = isinstance(value, dict) and isinstance(joined.get(name), dict)
            joined[name] = _joined([joined[name], value]) if both else value
    return joined


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise CommandError(f"{file}: {error}") from error


def _table(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise CommandError(f"{where}: should be a table")
    return value


def _spelled_out(text: str, where: str) -> Iterable[str]:
    if not (found := RANGE.fullmatch(text)):
        yield text
        return
    before, inside, after = found.groups()
    for part in inside.split(","):
        first, dash, last = part.partition("-")
        last = last if dash else first
        digits = (first + last).isascii() and first.isdigit() and last.isdigit()
        if not digits or not 0 <= int(last) - int(first) < NODES_MAX:
            raise CommandError(f"{where}: {text!r} should have ranges such as [001-200]")
        yield from (f"{before}{number:0{len(first)}d}{after}" for number in range(int(first), int(last) + 1))


def _by_words(problems: Iterable[str]) -> list[str]:
    """Puts nodes with the same fault together: an edit of what all share breaks all of them."""
    nodes: dict[str, list[str]] = {}
    for problem in problems:
        name, _, words = problem.partition(": ")
        nodes.setdefault(words, []).append(name)
    return [
        f"{names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}: {words}"
        for words, names in nodes.items()
    ]
