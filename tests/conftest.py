"""Plugs the shared fixtures into every suite."""

from pathlib import Path

import pytest

pytest_plugins = [
    "tests.fixtures.servers",
    "tests.fixtures.exchange",
    "tests.fixtures.ordering",
    "tests.fixtures.progress",
]


def pytest_configure(config: pytest.Config) -> None:
    """Refuses to test an engine that was compiled before its sources moved."""
    compiled = (Path(__file__).parents[1] / "matching_engine").rglob("*.so")
    stale = [file.name for file in compiled if not file.with_name(file.name.partition(".")[0] + ".pyx").exists()]
    if stale:
        raise pytest.UsageError(
            f"the compiled engine is older than its sources ({stale[0]} has none any more);"
            " `.venv/bin/python setup.py build_ext --inplace` builds it anew"
        )
