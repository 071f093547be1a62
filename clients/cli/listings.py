"""The command `listings`: the board of used hardware."""

from cyclopts import App

from clients.cli.output import show
from clients.cli.session import columns, public
from clients.http import result_of

COLUMNS = columns("listing_id", "state", "kind", "grade", "hub", "price", "currency", "simulated", "title")


def listings(
    listing_id: str | None = None,
    *,
    state: str | None = None,
    limit: int = 50,
    url: str | None = None,
    json: bool = False,
) -> None:
    """Show the board of used hardware, newest first, or one listing with its GPUs and its inspection."""
    with public("listings", url) as client:
        if listing_id:
            show(result_of(client.get(f"/v1/listings/{listing_id}")), json=json)
            return
        params = {"limit": limit} | ({"state": state} if state else {})
        found = result_of(client.get("/v1/listings", params=params))["listings"]
    show(found if json else list(map(COLUMNS, found)), json=json)


def add_to(app: App) -> None:
    app.command(listings)
