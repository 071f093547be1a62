"""Commands that read the market: `trades`, `candles`, and `watch`, which follows the public feed."""

import json as json_codec
from typing import Annotated, Any

from cyclopts import App, Parameter

from clients.cli.output import Refused, show
from clients.cli.session import market_data
from clients.http import result_of

TRADE_COLUMNS = ("time", "contract", "price", "qty", "taker_side", "seq")
CANDLE_COLUMNS = ("start", "open", "high", "low", "close", "qty", "final")

Channels = Annotated[tuple[str, ...], Parameter(help="book trades ticker candles curve index delivery listings status")]


def trades(symbol: str, *, limit: int = 20, url: str | None = None, json: bool = False) -> None:
    """Print the last trades of a contract or a product, newest first."""
    with market_data(url) as client:
        found = result_of(client.get("/v1/trades", params={"sym": symbol, "limit": limit}))
    show(found if json else [{name: row[name] for name in TRADE_COLUMNS} for row in found["items"]], json=json)


def candles(symbol: str, *, interval: str = "1m", limit: int = 20, url: str | None = None, json: bool = False) -> None:
    """Print the last candles of a contract or a product, newest first."""
    with market_data(url) as client:
        found = result_of(client.get("/v1/candles", params={"sym": symbol, "interval": interval, "limit": limit}))
    show(found if json else [{name: row[name] for name in CANDLE_COLUMNS} for row in found["items"]], json=json)


def watch(
    symbol: str = "*",
    *channels: Channels,
    interval: str = "1m",
    from_seq: int | None = None,
    url: str | None = None,
    json: bool = False,
) -> None:
    """Follow the feed until Ctrl-C: book and trades of a contract, or the channels named."""
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    with market_data(url) as client:
        address = f"{str(client.base_url).rstrip('/').replace('http', 'ws', 1)}/v1/ws"
    request: dict[str, Any] = {"op": "subscribe", "syms": [symbol], "interval": interval}
    if from_seq is not None:
        request["from_seq"] = from_seq
    try:
        with connect(address) as socket:
            for channel in channels or _usual_channels(symbol):
                socket.send(json_codec.dumps(request | {"ch": channel}))
            for text in socket:
                print(text if json else _line(json_codec.loads(text)), flush=True)
    except OSError as error:
        raise Refused(f"market data does not answer at {address}: {error}") from error
    except ConnectionClosed as closed:
        raise Refused(f"market data closed the feed: {closed}") from closed
    except KeyboardInterrupt:
        return


def _usual_channels(symbol: str) -> tuple[str, ...]:
    if symbol == "*":
        return ("status",)
    return ("book", "trades") if "-" in symbol else ("curve", "trades")


def _line(message: dict[str, Any]) -> str:
    """One line a person can read: the channel, the symbol and the kind, then what is in it."""
    head = " ".join(str(message[name]) for name in ("ch", "sym", "type") if name in message)
    rest = {name: value for name, value in message.items() if name not in ("ch", "sym", "type")}
    return f"{head}  {json_codec.dumps(rest, ensure_ascii=False)}"


def add_to(app: App) -> None:
    for command in (trades, candles, watch):
        app.command(command)
