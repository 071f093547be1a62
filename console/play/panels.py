"""Which panels of the terminal page still have nothing to show: the play is ready when none is left."""

import httpx

from clients.http import result_of
from console.play.desk import Market

LISTED = "LISTED"


async def missing_panels(market: Market, listings: httpx.AsyncClient) -> tuple[str, list[str]]:
    """Returns the product that is traded most, and what its page still lacks."""
    board = result_of(await listings.get("/v1/listings"))["listings"]
    board_missing = [] if any(row["state"] == LISTED for row in board) else ["hardware on the board"]
    product = next(iter(market.terms))
    return product, await _missing_of(market, product) + board_missing


async def _missing_of(market: Market, product: str) -> list[str]:
    points = (await market.read(f"/v1/curve/{product}"))["points"]
    traded = (await market.read("/v1/trades", sym=product, limit=1))["items"]
    indexes = (await market.read("/v1/index", product=product, limit=1))["items"]
    panels = {
        "asks on the strip": any("ask" in point for point in points),
        "a book with both sides": any("ask" in point and "bid" in point for point in points),
        "trades": bool(traded),
        "an index": bool(indexes),
    }
    return [name for name, shown in panels.items() if not shown]
