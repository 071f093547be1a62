"""One seeded bug in a copy of the tree: built where it is compiled, then hunted."""

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.fixtures.builds import build, copy_tree, environment_of
from tests.mutants.hunt import PARTS
from tests.mutants.mutant import Mutant

HUNT_TIMEOUT_S = 900


@dataclass(frozen=True)
class Catch:
    """Which test caught a bug, and how many commands the engines had taken by then; `test` is None where none did."""

    mutant: Mutant
    test: str | None
    commands: int

    def __str__(self) -> str:
        how = f"caught by {self.test}, {self.commands:,} commands" if self.test else "NOT CAUGHT"
        return f"{self.mutant.name} [{self.mutant.file}]: {how}"


def try_mutant(mutant: Mutant, parts: tuple[str, ...] = PARTS) -> Catch:
    """Sows a bug and hunts it."""
    with tempfile.TemporaryDirectory(prefix="hourbook-mutant-") as folder:
        tree = copy_tree(Path(folder))
        mutant.sow(tree / "matching_engine")
        if mutant.is_compiled:
            build_quickly(tree)
        return hunt(mutant, tree, parts)


def build_quickly(tree: Path) -> None:
    """Builds what the bug touches, quickly rather than well. Raises ValueError where its text is no code any more."""
    setup = tree / "setup.py"
    setup.write_text(setup.read_text(encoding="utf-8").replace('"-O3"', '"-O0"'), encoding="utf-8")
    built = build(tree)
    if built.returncode:
        raise ValueError(f"a bug that does not build: {built.stderr[-1_000:]}")


def hunt(mutant: Mutant, tree: Path, parts: tuple[str, ...]) -> Catch:
    """Runs the hunt in the tree. An engine that crashes or hangs is caught by the test it did so in."""
    command = [sys.executable, "-m", "tests.mutants.hunt", *parts]
    try:
        found = subprocess.run(
            command, cwd=tree, env=environment_of(), capture_output=True, text=True, timeout=HUNT_TIMEOUT_S
        )
        said, passed = found.stdout, found.returncode == 0
    except subprocess.TimeoutExpired as expired:
        said, passed = (expired.stdout or b"").decode(), False
    lines = said.splitlines()
    tests = [line.removeprefix("test ") for line in lines if line.startswith("test ")]
    counts = [int(line.removeprefix("commands ")) for line in lines if line.startswith("commands ")]
    if not passed and not tests:
        tests = ["the import of the engine"]
    return Catch(mutant, None if passed else tests[-1], counts[-1] if counts else 0)
