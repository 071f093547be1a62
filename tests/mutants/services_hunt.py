"""One seeded bug of a service in a copy of the tree, and whether its tests see it."""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.fixtures.builds import copy_tree, environment_of
from tests.mutants.mutant import ServiceMutant

HUNT_TIMEOUT_S = 900
# A line of the summary, and none of a log that begins with the same word.
FAILED = re.compile(r"^(?:FAILED|ERROR) (tests/\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Sight:
    """The test that saw a bug; None where none did."""

    mutant: ServiceMutant
    test: str | None

    def __str__(self) -> str:
        how = f"caught by {self.test}" if self.test else "NOT CAUGHT"
        return f"{self.mutant.name} [{self.mutant.file}]: {how}"


def try_service_mutant(mutant: ServiceMutant) -> Sight:
    """Sows a bug and runs the tests that are to see it, one after the other, until one fails."""
    with tempfile.TemporaryDirectory(prefix="hourbook-mutant-") as folder:
        Path(folder).chmod(0o755)  # PostgreSQL runs as another user where we are root
        tree = copy_tree(Path(folder))
        mutant.sow(tree)
        return Sight(mutant, next(filter(None, (_failed(tree, path) for path in mutant.tests)), None))


def failing_without_a_bug(paths: Iterable[str]) -> list[str]:
    """Returns which of the tests fail in a copy that has no bug: they would see one everywhere."""
    with tempfile.TemporaryDirectory(prefix="hourbook-mutant-") as folder:
        Path(folder).chmod(0o755)
        tree = copy_tree(Path(folder))
        return [failed for failed in (_failed(tree, path) for path in paths) if failed]


def _failed(tree: Path, path: str) -> str | None:
    """Returns the name of the first test that fails, or of the path where the tests cannot even be collected."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", path]
    try:
        found = subprocess.run(
            command, cwd=tree, env=environment_of(), capture_output=True, text=True, timeout=HUNT_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        return f"{path}, which never ended"
    if found.returncode == 0:
        return None
    failed = FAILED.search(found.stdout)
    return failed[1].rpartition("/")[2] if failed else path
