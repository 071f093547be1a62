"""Commands that read the market: `products`, `contracts`, `trades`, `candles`, `index`, and `watch`, which follows the
public feed.
"""

import json as json_codec
import sys
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter
from httpx import Client

from clients.cli.output import CommandError, show
from clients.cli.session import columns, market_data
from clients.http import result_of

QUOTES = ("bid", "bid_qty", "ask", "ask_qty", "last")
PRODUCT_COLUMNS = columns("product", "currency", "lot", "tick", "period_s", "gate_lead_s", "state")
CONTRACT_COLUMNS = columns("contract", "start", "gate", "state", *QUOTES)
INDEX_COLUMNS = columns("contract", "start", "index", "level", "stale", "time")
AUCTION_COLUMNS = columns("contract", "event", "price", "qty", "surplus_qty", "surplus_side", "reference", "time")
TRADE_COLUMNS = ("time", "contract", "price", "qty", "taker_side", "seq")
CANDLE_COLUMNS = ("start", "open", "high", "low", "close", "qty", "final")

Channel = Annotated[
    Literal["book", "trades", "ticker", "candles", "curve", "index", "auction", "delivery", "listings", "status"],
    Parameter(help="What to follow; several may be named."),
]


def products(*, hub: str | None = None, url: str | None = None, json: bool = False) -> None:
    """List what is traded: grade, hub and tier of each product, its currency and period."""
    with market_data(url) as client:
        found = list(listed(client, "/v1/products"))
    if hub is not None:
        found = [row for row in found if row["product"].split(".")[1] == hub]
    show(found if json else list(map(PRODUCT_COLUMNS, found)), json=json)


def contracts(
    product: str, *, state: str | None = "OPEN", limit: int = 50, url: str | None = None, json: bool = False
) -> None:
    """List PRODUCT's contracts, earliest first, with best prices; --state METERED (or another) for those past."""
    with market_data(url) as client:
        quotes = {row["contract"]: row for row in result_of(client.get(f"/v1/curve/{product}"))["points"]}
        rows = (row for row in listed(client, "/v1/contracts", product=product) if state in (None, row["state"]))
        found = [row | {name: quotes.get(row["contract"], {}).get(name) for name in QUOTES} for row in rows][:limit]
    show(found if json else list(map(CONTRACT_COLUMNS, found)), json=json)


def index(product: str, *, limit: int = 20, url: str | None = None, json: bool = False) -> None:
    """Print the index values of PRODUCT, latest delivery first, with the level of evidence each stands on."""
    with market_data(url) as client:
        found = result_of(client.get("/v1/index", params={"product": product, "limit": limit}))
    show(found if json else list(map(INDEX_COLUMNS, found["items"])), json=json)


def auctions(product: str, *, limit: int = 20, url: str | None = None, json: bool = False) -> None:
    """Print what PRODUCT's auctions would come to now, then how the last ones ended."""
    with market_data(url) as client:
        found = result_of(client.get("/v1/auctions", params={"product": product}))
    rows = [*found["indicated"], *found["results"]][:limit]
    show(found if json else list(map(AUCTION_COLUMNS, rows)), json=json)


def listed(client: Client, path: str, **params: Any) -> Iterator[dict[str, Any]]:
    """Yields the rows of a paged list of market data."""
    while True:
        page = result_of(client.get(path, params=params))
        yield from page["items"]
        if page.get("cursor") is None:
            return
        params["cursor"] = page["cursor"]


def trades(symbol: str, *, limit: int = 20, url: str | None = None, json: bool = False) -> None:
    """Print the last trades of a contract or a product, newest first."""
    with market_data(url) as client:
        found = result_of(client.get("/v1/trades", params={"sym": symbol, "limit": limit}))
    show(found if json else [{name: row.get(name, "") for name in TRADE_COLUMNS} for row in found["items"]], json=json)


def candles(symbol: str, *, interval: str = "1m", limit: int = 20, url: str | None = None, json: bool = False) -> None:
    """Print the last candles of a contract or a product, newest first."""
    with market_data(url) as client:
        found = result_of(client.get("/v1/candles", params={"sym": symbol, "interval": interval, "limit": limit}))
    show(found if json else [{name: row[name] for name in CANDLE_COLUMNS} for row in found["items"]], json=json)


def watch(
    symbol: str = "*",
    *channels: Channel,
    interval: str = "1m",
    from_seq: int | None = None,
    url: str | None = None,
    json: bool = False,
) -> None:
    """Follow the feed until Ctrl-C: book and trades of a contract, or the channels named."""
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    with market_data(url) as client:
        address = f"{str(client.base_url).rstrip('/').replace('http', 'ws', 1)}/v1/feed"
    request: dict[str, Any] = {"op": "subscribe", "syms": [symbol], "interval": interval}
    if from_seq is not None:
        request["from_seq"] = from_seq
    try:
        with connect(address) as socket:
            for channel in channels or _usual_channels(symbol):
                socket.send(json_codec.dumps(request | {"ch": channel}))
            for message in socket:
                print_message(message if isinstance(message, str) else message.decode(), json)
    except BrokenPipeError:  # whoever reads our output has seen enough
        sys.stdout = None
    except OSError as error:
        raise CommandError(f"market data does not answer at {address}: {error}") from error
    except ConnectionClosed as closed:
        raise CommandError(f"market data closed the feed: {closed}") from closed
    except KeyboardInterrupt:
        return


def _usual_channels(symbol: str) -> tuple[str, ...]:
    if symbol == "*":
        return ("status",)
    return ("book", "trades") if "-" in symbol else ("curve", "trades")


def print_message(text: str, json: bool) -> None:
    """Prints one message: as it came, or as a line; a person needs no heartbeats. Raises CommandError for a problem."""
    message = json_codec.loads(text)
    if message["ch"] == "error":
        raise CommandError(f"{message['code']}: {message['detail']}")
    if json:
        print(text, flush=True)
    elif message["ch"] != "hb":
        print(_line(message), flush=True)


def _line(message: dict[str, Any]) -> str:
    """One line a person can read: the channel, the symbol and the kind, then what is in it."""
    head = " ".join(str(message[name]) for name in ("ch", "sym", "type") if name in message)
    match message:
        case {"ch": "book", "bids": bids, "asks": asks}:
            doubt = f"  in doubt since event {message['doubted_since']}" if "doubted_since" in message else ""
            return f"{head}  bids {_levels(bids)}  asks {_levels(asks)}{doubt}"
        case {"ch": "trades", "type": "trade", "trade": trade}:
            return f"{head}  {trade['time']}  {trade['qty']} at {trade['price']}"
    rest = {name: value for name, value in message.items() if name not in ("ch", "sym", "type")}
    return f"{head}  {json_codec.dumps(rest, ensure_ascii=False)}"


def _levels(levels: list[list[str]]) -> str:
    """Price × GPUs, best first; a level with 0 is gone."""
    return ", ".join(f"{price} × {qty}" for price, qty in levels) or "–"


def add_to(app: App) -> None:
    for command in (products, contracts, trades, candles, index, auctions, watch):
        app.command(command)
