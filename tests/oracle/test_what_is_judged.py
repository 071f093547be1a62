"""The oracle's README says of every kind of command whether it is judged, and the oracle imports no engine."""

import ast
from pathlib import Path
from typing import get_args

import schemas.orders
from schemas.commands import Command
from schemas.venue import VenueCommand

HERE = Path(__file__).parent
DRIVERS = ("judging.py", Path(__file__).name, "test_engines_and_oracle.py")


def union_of(alias: object) -> set[str]:
    return {each.model_fields["type"].default for each in get_args(get_args(alias)[0])}


def kinds_in_table(judged: str) -> set[str]:
    """The commands whose row says `judged`, or `not judged`."""
    rows = [line.strip("| ").split(" | ") for line in (HERE / "README.md").read_text().splitlines()]
    rows = [row for row in rows if len(row) == 3 and row[1] == judged]
    return {kind.strip("`") for row in rows for kind in row[0].split(", ")}


def test_every_kind_of_command_stands_in_the_table_once():
    judged, not_judged = kinds_in_table("judged"), kinds_in_table("not judged")
    assert not judged & not_judged
    assert judged | not_judged == union_of(Command) | union_of(VenueCommand) | union_of(schemas.orders.BatchMember)


def test_the_oracle_imports_nothing_of_the_engine():
    found = {}
    for path in HERE.glob("*.py"):
        nodes = [
            node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        names = {getattr(node, "module", None) or node.names[0].name for node in nodes}
        found[path.name] = {name for name in names if name.split(".")[0] in ("matching_engine", "services")}
        if path.name not in DRIVERS:
            found[path.name] |= {name for name in names if name.startswith("tests.") and "oracle" not in name}
    assert not any(found.values()), found
