"""Options of the engine's suite: how long the differential streams are, and which."""

import math
import time

import pytest

COMMANDS = 1_000_000
COMMANDS_LONG = 20_000_000


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("engine")
    group.addoption("--long", action="store_true", help=f"{COMMANDS_LONG:,} commands through both engines")
    group.addoption("--commands", type=int, help=f"how many commands (usually {COMMANDS:,})")
    group.addoption("--within-s", type=float, default=math.inf, help="no new streams after so many seconds")
    group.addoption("--stream-seed", type=int, help="the first stream's seed (usually by the clock)")
    group.addoption("--flavour", help="streams of one flavour only")


@pytest.fixture(scope="session")
def commands(pytestconfig: pytest.Config) -> int:
    """How many commands go through both engines."""
    return pytestconfig.getoption("--commands") or (COMMANDS_LONG if pytestconfig.getoption("--long") else COMMANDS)


@pytest.fixture(scope="session")
def within_s(pytestconfig: pytest.Config) -> float:
    """After how many seconds no new stream begins."""
    return pytestconfig.getoption("--within-s")


@pytest.fixture(scope="session")
def seed(pytestconfig: pytest.Config) -> int:
    """The seed of the first stream; the next ones count on from it."""
    given = pytestconfig.getoption("--stream-seed")
    return time.time_ns() // 1_000_000 % 1_000_000_000 if given is None else given


@pytest.fixture(scope="session")
def flavour(pytestconfig: pytest.Config) -> str | None:
    """The one flavour asked for."""
    return pytestconfig.getoption("--flavour")
