"""How often each line of the .pyx and .pxd files ran, read from gcov, and which way its branches went.

A branch is what coverage.py counts for Python: an `if`, `elif` or `while` that is entered, and one that is passed over.
That a call into Python may raise is a branch of the generated C only, and none of the source's.
"""

import json
import re
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

DECISION = re.compile(r"^(\s*)(if|elif|while)\b.*:\s*(#.*)?$")
GIVES_UP = re.compile(r"out_of_memory\(|AssertionError|NEGATIVE_BALANCE")
Lines = dict[str, Counter[int]]


@dataclass(frozen=True)
class Branch:
    """One way out of a decision, and whether the suite took it. A guard is entered where memory is out or the engine is
    broken, which no test can bring about.
    """

    line: int
    way: str
    taken: bool
    is_guard: bool = False


def count_lines(tree: Path) -> Lines:
    """Counts by file and line over all modules of an instrumented build."""
    counts: Lines = {}
    for data in sorted(tree.glob("build/**/*.gcda")):
        command = ["gcov", "--json-format", "--stdout", str(data.relative_to(tree))]
        found = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=True)
        for report in map(json.loads, filter(None, found.stdout.splitlines())):
            for file in report["files"]:
                lines = counts.setdefault(file["file"], Counter())
                for line in file["lines"]:
                    lines[line["line_number"]] += line["count"]
    return {name: lines for name, lines in counts.items() if name.endswith((".pyx", ".pxd"))}


def branches_of(source: list[str], counts: Counter[int]) -> list[Branch]:
    """Both ways of every decision that is compiled."""
    found = []
    for number, text in enumerate(source, start=1):
        decision = DECISION.match(text) or opens_condition(source, number)
        if not decision or number not in counts:
            continue
        body = first_of_body(source, number, counts)
        if body is None:
            continue
        entered = counts[body]
        is_guard = bool(GIVES_UP.search(source[body - 1]))
        found.append(Branch(number, "entered", entered > 0, is_guard))
        if not text.strip().startswith("while True"):
            found.append(
                Branch(number, "passed over", counts[number] > entered or (is_loop(text) and counts[number] > 0))
            )
    return found


def opens_condition(source: list[str], number: int) -> re.Match[str] | None:
    """A decision whose condition goes on in the next lines."""
    return re.match(r"^(\s*)(if|elif|while)\b.*\($", source[number - 1])


def is_loop(text: str) -> bool:
    return text.strip().startswith("while ")


def first_of_body(source: list[str], number: int, counts: Counter[int]) -> int | None:
    """The first line that runs where the decision is entered."""
    indent = len(source[number - 1]) - len(source[number - 1].lstrip())
    for following in range(number + 1, len(source) + 1):
        text = source[following - 1]
        depth = len(text) - len(text.lstrip())
        if not text.strip() or text.strip().startswith(("#", '"""', ")")):
            continue
        if depth <= indent:
            return None
        if following in counts:
            return following
    return None
