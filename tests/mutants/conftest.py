"""The option of the bank's run."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--mutant", default="", help="only the mutants whose names hold this text")
