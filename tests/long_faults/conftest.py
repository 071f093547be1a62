"""Options of the long form; runs with one tally file go on where the last one ended, and add up."""

import random
from pathlib import Path

import pytest

ACCIDENTS = 1_000


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("long form of the fault run")
    group.addoption("--kills", type=int, default=ACCIDENTS, help=f"how many accidents (usually {ACCIDENTS})")
    group.addoption("--seed", type=int, default=None, help="repeats a run")
    group.addoption("--first", type=int, default=0, help="the number of the first round, to repeat one")
    group.addoption("--tally", type=Path, default=None, help="a file of counts: goes on with its seed where it ended")


@pytest.fixture
def seed(pytestconfig: pytest.Config) -> int:
    """The run's seed."""
    given = pytestconfig.getoption("--seed")
    return random.SystemRandom().randrange(1_000_000) if given is None else given
