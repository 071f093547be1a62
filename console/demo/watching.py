"""The demo's watcher: follows the public WebSocket feed, checks each sequence and checksum, keeps its own book."""

import json
import threading
import zlib
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

LEVELS = 10


class Watcher(threading.Thread):
    """Follows book, trades and candles of a contract; `faults` stays empty while the feed keeps its word."""

    def __init__(self, url: str, contract: str, interval: str):
        super().__init__(daemon=True)
        self._socket = connect(f"{url.replace('http', 'ws', 1)}/v1/feed").__enter__()  # `stop` closes it
        self._contract, self._interval = contract, interval
        self.book: dict[str, dict[str, str]] = {"bids": {}, "asks": {}}
        self.seq: int | None = None
        self.deltas = 0
        self.trades: list[dict[str, Any]] = []
        self.candles: dict[str, dict[str, Any]] = {}
        self.heartbeats = 0
        self.faults: list[str] = []
        self.subscribed = threading.Event()
        self._awaited = {"book", "trades", "candles"}

    def run(self) -> None:
        """Subscribes and follows until the socket is closed."""
        for channel in ("book", "trades"):
            self._subscribe(ch=channel, syms=[self._contract])
        self._subscribe(ch="candles", syms=[self._contract], interval=self._interval)
        try:
            for text in self._socket:
                self._take(json.loads(text))
        except ConnectionClosed as closed:
            self.faults.append(f"closed: {closed}")

    def stop(self) -> None:
        """Ends the subscription politely."""
        self._socket.close()
        self.join(5)

    def levels(self) -> dict[str, list[list[str]]]:
        """Returns the watcher's own book, best first, as the REST answer shows it."""
        return {
            "bids": [list(level) for level in sorted(self.book["bids"].items(), key=_price, reverse=True)],
            "asks": [list(level) for level in sorted(self.book["asks"].items(), key=_price)],
        }

    def _subscribe(self, **request: str | list[str]) -> None:
        self._socket.send(json.dumps({"op": "subscribe"} | request))

    def _take(self, message: dict[str, Any]) -> None:
        if message.get("type") == "snapshot":
            self._awaited.discard(message["ch"])
            if not self._awaited:
                self.subscribed.set()
        match message["ch"], message.get("type"):
            case "book", "snapshot":
                self.book = {side: dict(map(tuple, message[side])) for side in ("bids", "asks")}
                self._checked(message)
            case "book", "delta":
                if message["prev_seq"] != self.seq:
                    self.faults.append(f"a hole: {message['prev_seq']} after {self.seq}")
                self._apply(message)
                self._checked(message)
                self.deltas += 1
            case "trades", "trade":
                self.trades.append(message["trade"])
            case "candles", "update":
                self.candles[message["candle"]["start"]] = message["candle"]
            case "hb", _:
                self.heartbeats += 1
            case "error", _:
                self.faults.append(json.dumps(message))

    def _apply(self, delta: dict[str, Any]) -> None:
        for side in ("bids", "asks"):
            for price, qty in delta[side]:
                if qty == "0":
                    self.book[side].pop(price, None)
                else:
                    self.book[side][price] = qty

    def _checked(self, message: dict[str, Any]) -> None:
        self.seq = message["seq"]
        crc = checksum(self.levels())
        if crc != message["crc"]:
            self.faults.append(f"checksum {crc} is not {message['crc']} at {self.seq}")


def checksum(levels: dict[str, list[list[str]]]) -> int:
    """CRC32 over the ten best asks, then bids: each price and quantity without point and leading zeros."""
    best = levels["asks"][:LEVELS] + levels["bids"][:LEVELS]
    return zlib.crc32("".join(text.replace(".", "").lstrip("0") for level in best for text in level).encode())


def _price(level: tuple[str, str]) -> float:
    return float(level[0])
