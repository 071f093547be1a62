"""The rows of docs/zoo.md, as a run has measured them."""

from collections.abc import Iterable

from tests.zoo.keeper import Stay
from tests.zoo.market import Market


def show(stays: Iterable[Stay], market: Market) -> None:
    """Prints a row for each program: what was said of it and when, what it earned, and its bond, in hours' prices."""
    for stay in stays:
        kind, seconds = stay.kind, stay.seen.first(stay.kind.sign)
        when = "not caught" if seconds is None else f"{seconds:.1f}"
        earned, bond = (
            round(money[stay.account] / market.hour_micros, 2) + 0.0 for money in (market.earned, market.bonds)
        )
        words = " ".join(kind.__doc__.split("\n\n")[0].split()).removesuffix(".")
        spared = " (layer off)" if stay.spared_by else ""
        cells = (f"`{kind.__name__}`{spared}", words, kind.caught_by, kind.sign, when, f"{earned:.2f}", f"{bond:.2f}")
        print(f"| {' | '.join(cells)} |")
