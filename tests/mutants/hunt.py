"""Looks for a bug in the engines of the tree it runs in: parts of the suite, the quickest first, until one fails.

As a program it prints a line for each test begun, and at last the one that failed, or none, with the commands applied
until then: `python -m tests.mutants.hunt [PARTS]`.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.engine.differential import Stream, run_stream
from tests.engine.logs import LOGS
from tests.oracle.judging import judge, log_of
from tests.property.matching_engine.books_of_account import Auditor
from tests.scenarios.engines import ENGINES
from tests.scenarios.script import run

ROOT = Path(__file__).parents[2]
SCENARIOS = sorted((ROOT / "tests/scenarios").glob("*.txt"))
STREAM_COMMANDS = 4_000
AUDITED_COMMANDS = 400
SEEDS = (1, 2, 3)
UNIT_TESTS = ("tests/unit/matching_engine", "tests/engine/test_engine_codec.py", "tests/engine/test_streams.py")
ORACLE_COMMANDS = 1_500
PARTS = ("scenarios", "units", "streams", "accounts", "oracle")


class Failed(Exception):
    """A test failed: the bug is caught."""


class Counter:
    """Commands applied so far."""

    commands = 0


class Counted:
    """An engine that counts what is applied to it."""

    def __init__(self, engine: Any, counter: Counter):
        self.engine, self.counter = engine, counter

    def apply(self, records: list) -> list[bytes]:
        """Counts the records and passes them on."""
        self.counter.commands += len(records)
        return self.engine.apply(records)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)


def hunt_scenarios(counter: Counter) -> Iterator[str]:
    """Every scenario must read as it is written, on both engines."""
    for name, engine_class in ENGINES.items():
        for scenario in SCENARIOS:
            yield f"scenario {scenario.stem} ({name})"
            if run(scenario, Counted(engine_class(), counter)) != scenario.read_text(encoding="utf-8"):
                raise Failed


def hunt_streams(counter: Counter) -> Iterator[str]:
    """Both engines must say the same on streams of every flavour."""
    for seed in SEEDS:
        for flavour in LOGS if "cython" in ENGINES else ():
            yield f"streams of {flavour}, seed {seed}"
            outcome = run_stream(Stream(flavour, seed, STREAM_COMMANDS), ENGINES["cython"])
            counter.commands += outcome.commands
            if outcome.difference:
                raise Failed


def hunt_accounts(counter: Counter) -> Iterator[str]:
    """Money and capacity must be conserved after every record."""
    for name, engine_class in ENGINES.items():
        for flavour in LOGS:
            yield f"accounts on {flavour} ({name})"
            engine, auditor, log = Counted(engine_class(), counter), Auditor(), log_of(flavour, 1)
            while log.offset < AUDITED_COMMANDS:
                for record in log.take(50):
                    auditor.read(record[0], engine.apply([record]))
                    auditor.check(engine)
                log.look(engine)


def hunt_oracle(counter: Counter) -> Iterator[str]:
    """Both engines must say what the oracle says, which shares no rule with them."""
    for flavour in LOGS:
        yield f"oracle on {flavour}"
        engines = [Counted(engine_class(), counter) for engine_class in ENGINES.values()]
        if judge(log_of(flavour, 1), engines, engines[0], ORACLE_COMMANDS).difference:
            raise Failed


def hunt_units(counter: Counter) -> Iterator[str]:
    """The unit tests of the engine, the codec's and the bare book's."""
    for path in UNIT_TESTS:
        yield f"unit tests {path}"
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", path]
        found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if found.returncode:
            failed = [line.split()[1] for line in found.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
            print(f"test unit test {failed[0].rpartition('/')[2] if failed else path}", flush=True)
            raise Failed


def main(parts: tuple[str, ...]) -> int:
    """Hunts until something fails. Returns 1 where something did."""
    counter, hunters = Counter(), [globals()[f"hunt_{part}"] for part in parts]
    try:
        for hunter in hunters:
            for test in hunter(counter):
                print(f"test {test}", flush=True)
                print(f"commands {counter.commands}", flush=True)
    except Exception:  # whatever goes wrong in a tree with a bug has caught it
        print(f"commands {counter.commands}\ncaught", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(tuple(sys.argv[1:]) or PARTS))
