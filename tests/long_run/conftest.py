"""Options of the long run; runs with different seeds, or from where the last one ended, add up."""

import random
from pathlib import Path

import pytest

LEASES = 500


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("long run")
    group.addoption("--leases", type=int, default=LEASES, help=f"how many leases are judged (usually {LEASES})")
    group.addoption("--seed", type=int, default=None, help="repeats a run")
    group.addoption("--first", type=int, default=0, help="the number of the first plan, to go on or to repeat one")
    group.addoption("--tally", type=Path, default=None, help="a file of counts: goes on with its seed where it ended")


@pytest.fixture
def seed(pytestconfig: pytest.Config) -> int:
    """The run's seed."""
    given = pytestconfig.getoption("--seed")
    return random.SystemRandom().randrange(1_000_000) if given is None else given
