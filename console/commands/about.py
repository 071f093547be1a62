"""Commands about the program itself: `version` and `now`."""

import time
from importlib.metadata import version as version_of

from cyclopts import App

from clients.cli.output import show

HOUR_S = 3600


def version(*, json: bool = False) -> None:
    """Print the version of Hourbook and which engine runs: cython, or reference (plain Python)."""
    from matching_engine import ENGINE_NAME

    show({"hourbook": version_of("hourbook-exchange"), "engine": ENGINE_NAME}, json=json)


def now(*, json: bool = False) -> None:
    """Print this moment as the exchange counts it: the hour since 1970-01-01 UTC and the milliseconds into it."""
    now_ms = time.time_ns() // 1_000_000
    hour, into_ms = divmod(now_ms, HOUR_S * 1000)
    show({"now_ms": now_ms, "hour": hour, "into_hour_ms": into_ms}, json=json)


def add_to(app: App) -> None:
    app.command(version)
    app.command(now)
