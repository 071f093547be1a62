"""Every case from the field has a test, and the table in tests/CASES.md names one that exists."""

import ast
import re
from pathlib import Path

from infra.places import REPOSITORY

TESTS = REPOSITORY / "tests"
ROW = re.compile(r"^\| (?P<cases>[^|]+) \| [^|]+ \| `(?P<path>[^`:]+)::(?P<test>\w+)` \|$", re.MULTILINE)
# How many cases failed in each part, without those whose mending is another issue's.
FAILED = {"A": 21, "M": 9, "H": 5, "O": 5, "P": 5, "C": 3, "L": 5, "E": 1, "F": 13, "trust": 22}


def rows() -> list[re.Match]:
    return list(ROW.finditer((TESTS / "CASES.md").read_text()))


def functions_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_test_that_the_table_names_exists():
    assert [row["test"] for row in rows() if row["test"] not in functions_of(TESTS / row["path"])] == []


def test_the_table_has_every_case_once():
    cases = re.findall(r"trust A\d+|[A-Z]\d\d", " ".join(row["cases"] for row in rows()))
    counts = {part: sum(case.startswith(part) for case in cases) for part in FAILED}
    assert (counts, len(set(cases))) == (FAILED, len(cases))
