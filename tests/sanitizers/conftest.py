"""The option of the sanitizers' run."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--per-flavour", type=int, default=5_000, help="commands of each flavour of stream")
