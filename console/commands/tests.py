"""The command `test`: runs a suite of the project's tests."""

import os
import subprocess
import sys
from typing import Annotated, Literal

from cyclopts import App, Parameter

from clients.cli.output import CommandError

UNITS = ("tests/tidy", "tests/unit", "tests/property", "tests/oracle")
CORE = (*UNITS, "tests/scenarios", "tests/integration", "tests/end_to_end")
SUITES = {
    "core": CORE,
    "engine": ("tests/engine", "tests/conformance", "tests/fuzz"),
    "api": ("tests/api",),
    "faults": ("tests/faults",),
    "mutants": ("tests/mutants",),
    "sanitizers": ("tests/sanitizers",),
    "fuzz": ("tests/fuzz",),
    "coverage": ("tests/coverage",),
    "delivery": (
        "tests/delivery",
        "tests/unit/agents",
        "tests/unit/services/delivery",
        "tests/property/agents",
        "tests/integration/agents",
        "tests/integration/delivery",
    ),
    "browser": ("tests/browser",),
    "zoo": ("tests/zoo",),
    "slow": (*CORE, "tests/delivery", "tests/browser", "tests/zoo"),
}
Suite = Literal[
    "core", "engine", "api", "faults", "delivery", "browser", "zoo", "slow", "mutants", "sanitizers", "fuzz", "coverage"
]
DEFAULT = ("core", "delivery", "browser")
# Tests that wait long are marked `slow`: the default leaves them to CI, a suite asked for by name has them all.
MARKED = {None: ("-m", "not slow"), "slow": ("-m", "slow")}
# What `--long` after a suite's name runs instead of it.
LONG = {"delivery": ("tests/long_run",), "faults": ("tests/long_faults",)}
# Most of these tests wait for real time: two to a core, each worker with servers of its own. In which order they take
# the files says tests/fixtures/ordering.py.
WORKERS = ("-n", str(min(4, 2 * (os.cpu_count() or 1))), "--dist", "loadfile", "--no-loadscope-reorder")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_browser() -> str | None:
    """The browser to drive: HOURBOOK_BROWSER, else the first one on PATH."""
    import shutil

    return os.environ.get("HOURBOOK_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)), None)


def test(
    suite: Suite | None = None,
    *arguments: Annotated[str, Parameter(allow_leading_hyphen=True)],
) -> int:
    """Run the tests: without a name core, delivery and browser, less those that CI alone runs (`slow`).

    What follows the name goes to pytest as it is. tests/README.md says what each suite catches and how long it takes.
    """
    from infra.places import REPOSITORY

    names = [suite] if suite else list(DEFAULT)
    without_browser = "browser" in names and find_browser() is None
    if without_browser:
        names.remove("browser")
        say_no_browser()
    suites = SUITES
    if suite in LONG and "--long" in arguments:
        suites, arguments = LONG, tuple(each for each in arguments if each != "--long")
    paths = without_parts([path for name in names for path in suites[name] if (REPOSITORY / path).is_dir()])
    if not paths:
        raise CommandError(f"no tests to run for {suite or 'the default suites'}")
    workers = () if suite else WORKERS
    command = [sys.executable, "-m", "pytest", *workers, *MARKED.get(suite, ()), *paths, *arguments]
    status = subprocess.run(command, cwd=REPOSITORY, env=dict(os.environ)).returncode
    if without_browser:
        say_no_browser()
    return status


def without_parts(paths: list[str]) -> list[str]:
    """The folders less those that lie in another of them: core holds delivery's tests too."""
    return [path for path in paths if not any(path.startswith(f"{other}/") for other in paths)]


def say_no_browser() -> None:
    """Say, so that nobody overlooks it, that the page was not tested."""
    line = "NO BROWSER FOUND: the terminal page is NOT tested. Install chromium, or set HOURBOOK_BROWSER."
    print(f"\n{'!' * len(line)}\n{line}\n{'!' * len(line)}\n", file=sys.stderr, flush=True)


def add_to(app: App) -> None:
    app.command(test)
