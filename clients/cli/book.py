"""The command `book`: the order book of a contract, from the public feed."""

from itertools import zip_longest

from cyclopts import App

from clients.cli.output import show
from clients.cli.session import market_data
from clients.http import result_of


def book(contract: str, *, depth: int = 10, url: str | None = None, json: bool = False) -> None:
    """Print the best bids and asks of CONTRACT (H100SXM80.CNE.F-26112213)."""
    with market_data(url) as client:
        snapshot = result_of(client.get(f"/v1/book/{contract}"))
    rows = zip_longest(snapshot["bids"][:depth], snapshot["asks"][:depth], fillvalue=("", ""))
    table = [
        {"bid qty": bid_qty, "bid": bid, "ask": ask, "ask qty": ask_qty} for (bid, bid_qty), (ask, ask_qty) in rows
    ]
    show(snapshot if json else table, json=json)
    if not json and "doubted_since" in snapshot:
        show(f"in doubt since event {snapshot['doubted_since']}: not to be trusted", json=False)


def add_to(app: App) -> None:
    app.command(book)
