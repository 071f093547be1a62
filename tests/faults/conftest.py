"""Options of the fault run; a failure prints the seed, and the one line that repeats it."""

import random

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=20, help="how many processes are killed")
    parser.addoption("--seed", type=int, default=None, help="repeats a run")


@pytest.fixture
def kills(request: pytest.FixtureRequest) -> int:
    return request.config.getoption("--kills")


@pytest.fixture
def seed(request: pytest.FixtureRequest, kills: int) -> int:
    chosen = request.config.getoption("--seed")
    chosen = random.SystemRandom().randrange(1_000_000) if chosen is None else chosen
    print(f"\nrepeat this run: ./hourbook test faults --kills {kills} --seed {chosen}")
    return chosen
