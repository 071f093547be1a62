"""No clause of docs/rules hangs in the air: code and tests cite each of them, and cite none that does not exist."""

import re
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[2]
CODE = ("matching_engine", "services", "schemas", "agents")
SUFFIXES = (".py", ".pyx", ".pxd", ".txt")
CITATION = re.compile(r"\[([MCDHF]-\d+)\]")
CLAUSE = re.compile(r"^\*\*([MCDHF]-\d+)\*\* ", re.MULTILINE)


def clauses() -> list[str]:
    return [each for page in sorted((ROOT / "docs/rules").glob("*.md")) for each in CLAUSE.findall(page.read_text())]


def cited_in(folders: Iterable[str]) -> set[str]:
    files = (path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES)
    return {each for path in files for each in CITATION.findall(path.read_text(encoding="utf-8"))}


def test_clauses_are_numbered_without_gaps_on_each_page():
    for page in (ROOT / "docs/rules").glob("*.md"):
        found = CLAUSE.findall(page.read_text())
        letter = found[0][0] if found else ""
        assert sorted(found, key=lambda each: int(each[2:])) == [f"{letter}-{place + 1}" for place in range(len(found))]


def test_every_cited_clause_exists():
    assert cited_in((*CODE, "tests", "benchmarks", "clients", "console")) - set(clauses()) == set()


def test_every_clause_is_cited_by_code_and_by_a_test():
    known = set(clauses())
    assert {"code": known - cited_in(CODE), "tests": known - cited_in(["tests"])} == {"code": set(), "tests": set()}
