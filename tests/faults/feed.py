"""A reader of the public feed that is cut off again and again, and must still see every trade once and in order."""

import asyncio
import json
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException


class FeedReader:
    """Follows a product's trades over reconnects, each from the last sequence it has."""

    def __init__(self, url: str, product: str):
        self._url, self._product = f"{url.replace('http', 'ws', 1)}/v1/ws", product
        self.trade_ids: list[int] = []
        self.faults: list[str] = []
        self.connections = 0
        self._seq: int | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Reads until told to stop."""
        while not stop.is_set():
            try:
                async with connect(self._url, open_timeout=3) as socket:
                    self.connections += 1
                    await self._follow(socket, stop)
            except (OSError, TimeoutError, WebSocketException):
                await asyncio.sleep(0.3)

    async def _follow(self, socket: Any, stop: asyncio.Event) -> None:
        request: dict[str, Any] = {"op": "subscribe", "ch": "trades", "syms": [self._product]}
        if self._seq is not None:
            request["from_seq"] = self._seq
        await socket.send(json.dumps(request))
        while not stop.is_set():
            try:
                self._take(json.loads(await asyncio.wait_for(socket.recv(), 2)))
            except TimeoutError:
                continue

    def _take(self, message: dict[str, Any]) -> None:
        if message["ch"] == "error":
            self.faults.append(json.dumps(message))
        elif message["ch"] == "trades":
            trades = reversed(message["trades"]) if message["type"] == "snapshot" else (message["trade"],)
            self.trade_ids += [trade["trade_id"] for trade in trades if trade["trade_id"] not in self.trade_ids[-500:]]
            self._seq = message["seq"]
