"""Options of the fuzz run: how many inputs, from which seed."""

import time

import pytest

INPUTS = 40_000


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("fuzz")
    group.addoption("--inputs", type=int, default=INPUTS, help="how many inputs, half of them records")
    group.addoption("--fuzz-seed", type=int, help="usually by the clock")


@pytest.fixture(scope="session")
def inputs(pytestconfig: pytest.Config) -> int:
    """How many inputs in all."""
    return pytestconfig.getoption("--inputs")


@pytest.fixture(scope="session")
def fuzz_seed(pytestconfig: pytest.Config) -> int:
    """Where the inputs begin."""
    given = pytestconfig.getoption("--fuzz-seed")
    return time.time_ns() // 1_000_000 % 1_000_000_000 if given is None else given
