"""Plugs the shared fixtures into every suite."""

pytest_plugins = [
    "tests.fixtures.servers",
    "tests.fixtures.exchange",
    "tests.fixtures.ordering",
    "tests.fixtures.progress",
]
