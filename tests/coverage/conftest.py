"""The option of the coverage run."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--least", type=float, default=95.0, help="percentage of branches that the suite must reach")
