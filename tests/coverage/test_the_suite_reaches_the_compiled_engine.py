"""The suite reaches nearly every branch of the compiled engine; what it does not reach is listed.

A copy of the tree is built with gcov's counters on the lines of the .pyx and .pxd files; the hunt that mutants are
looked for with, the book's tests and a short fuzz run in it. `--least N` sets the percentage below which it fails.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.coverage.counting import Branch, branches_of, count_lines
from tests.fixtures.builds import ROOT, build, copy_tree, environment_of

ENGINE_TESTS = tuple(
    f"tests/engine/{path.name}"
    for path in sorted((ROOT / "tests/engine").glob("test_*.py"))
    if path.name not in ("test_mutants.py", "test_differential_streams.py", "test_book_costs.py")
)
PROGRAMS = (
    ("tests.mutants.hunt",),
    ("pytest", "-q", "-p", "no:cacheprovider", "tests/property/matching_engine", *ENGINE_TESTS),
    ("pytest", "-q", "-p", "no:cacheprovider", "tests/fuzz", "--inputs", "20000", "--fuzz-seed", "1"),
)
INSTRUMENTED = {
    '["-O3", "-g0"]': '["-O0", "--coverage"]',
    "extra_link_args=SANITIZERS if SANITIZED else []": 'extra_link_args=["--coverage"]',
    "compiler_directives=DIRECTIVES": "emit_linenums=True, compiler_directives=DIRECTIVES",
}


@pytest.mark.timeout(0)
def test_nearly_every_branch_is_reached(tmp_path: Path, pytestconfig: pytest.Config, capsys):
    tree = copy_tree(tmp_path)
    instrument(tree)
    built = build(tree, "--force")
    assert built.returncode == 0, built.stderr[-4_000:]
    for words in PROGRAMS:
        ran = subprocess.run(
            [sys.executable, "-m", *words], cwd=tree, env=environment_of(), capture_output=True, text=True
        )
        assert ran.returncode == 0, ran.stdout[-4_000:] + ran.stderr[-2_000:]
    report, share = tell(tree)
    with capsys.disabled():
        print(f"\n{report}")
    assert share >= pytestconfig.getoption("--least")


def instrument(tree: Path) -> None:
    """Lets the copy's setup.py build with counters and source lines, everything from the start."""
    for generated in [*tree.glob("matching_engine/**/*.c"), *tree.glob("benchmarks/harness/*.c")]:
        generated.unlink()
    setup = tree / "setup.py"
    source = setup.read_text(encoding="utf-8")
    for text, replacement in INSTRUMENTED.items():
        assert source.count(text) == 1, text
        source = source.replace(text, replacement)
    setup.write_text(source, encoding="utf-8")


def tell(tree: Path) -> tuple[str, float]:
    """A line for each file with what it misses, and the share of all branches in per cent."""
    lines, ways, reached, guards = [], 0, 0, 0
    for name, counts in sorted(count_lines(tree).items()):
        if not (tree / name).is_file():
            continue
        all_branches = branches_of((tree / name).read_text(encoding="utf-8").splitlines(), counts)
        branches = [branch for branch in all_branches if branch.taken or not branch.is_guard]
        guards += len(all_branches) - len(branches)
        run, taken = sum(count > 0 for count in counts.values()), sum(branch.taken for branch in branches)
        ways, reached = ways + len(branches), reached + taken
        told = f"{name:40} lines {run:4} of {len(counts):4}   branches {taken:4} of {len(branches):4}"
        lines += [told, *(missed(branch) for branch in branches if not branch.taken)]
    share = 100 * reached / max(1, ways)
    total = f"{reached} of {ways} branches, {share:.1f} %, beside {guards} guards against memory that is out"
    return "\n".join([*lines, total]), share


def missed(branch: Branch) -> str:
    return f"    line {branch.line} is never {branch.way}"
