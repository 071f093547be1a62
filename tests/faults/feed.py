"""A reader of the public feed that is cut off again and again, also by itself, and goes on from the last `seq`."""

import asyncio
import json
import random
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from console.demo.watching import checksum
from tests.faults.load.contracts import Contracts

CUT = 0.03


class FeedReader:
    """Follows a product's trades and the books of its nearest contracts over all reconnects."""

    def __init__(self, url: str, contracts: Contracts, seed: int):
        self._url, self._contracts = f"{url.replace('http', 'ws', 1)}/v1/feed", contracts
        self._random = random.Random(seed)
        self.trade_ids: list[int] = []
        self.books: dict[str, FollowedBook] = {}
        self.faults: list[str] = []
        self.connections = 0
        self._trades_seq: int | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Reads until told to stop."""
        while not stop.is_set():
            try:
                async with connect(self._url, open_timeout=3, close_timeout=0.2) as socket:
                    self.connections += 1
                    await self._follow(socket, stop)
            except (OSError, TimeoutError, WebSocketException):
                await asyncio.sleep(0.3)

    async def _follow(self, socket: Any, stop: asyncio.Event) -> None:
        await _subscribe(socket, "trades", self._contracts.product, self._trades_seq)
        for book in self.books.values():
            book.followed = False
        while not stop.is_set():
            await self._follow_books(socket)
            try:
                self._take(json.loads(await asyncio.wait_for(socket.recv(), 2)))
            except TimeoutError:
                continue
            if self._random.random() < CUT:
                return

    async def _follow_books(self, socket: Any) -> None:
        for row in self._contracts.rows:
            book = self.books.setdefault(row["contract"], FollowedBook(row["contract"], self.faults))
            if not book.followed:
                book.followed = True
                await _subscribe(socket, "book", book.contract, book.seq)

    def _take(self, message: dict[str, Any]) -> None:
        match message["ch"]:
            case "trades":
                trades = reversed(message["trades"]) if message["type"] == "snapshot" else (message["trade"],)
                self.trade_ids += [each["trade_id"] for each in trades if each["trade_id"] not in self.trade_ids[-99:]]
                self._trades_seq = message["seq"]
            case "book":
                self.books[message["sym"]].take(message)
            case "hb":
                for contract, seq in message["seq"].items():
                    self.books[contract].check_at(seq)
            case "error":
                self.faults.append(json.dumps(message))


class FollowedBook:
    """One contract's book as the feed tells it; a hole, a lost delta or another checksum is a fault."""

    def __init__(self, contract: str, faults: list[str]):
        self.contract, self._faults = contract, faults
        self.followed = False
        self.seq: int | None = None
        self.deltas = 0
        self._levels: dict[str, dict[str, str]] = {"bids": {}, "asks": {}}

    def take(self, message: dict[str, Any]) -> None:
        """Takes a snapshot or a delta."""
        if message["type"] == "snapshot":
            self._levels = {side: dict(map(tuple, message[side])) for side in ("bids", "asks")}
        elif message["prev_seq"] != self.seq:
            self._faults.append(f"{self.contract}: a delta after {message['prev_seq']}, the reader has {self.seq}")
        else:
            self.deltas += 1
            for side in ("bids", "asks"):
                self._levels[side] |= dict(map(tuple, message[side]))
                self._levels[side] = {price: qty for price, qty in self._levels[side].items() if qty != "0"}
        self.seq = message["seq"]
        if checksum(self._sorted()) != message["crc"]:
            self._faults.append(f"{self.contract}: another checksum at {self.seq}")

    def check_at(self, seq: int) -> None:
        """The venue says where the book stands; every delta up to there must have come."""
        if self.seq != seq:
            self._faults.append(f"{self.contract}: the book stands at {seq}, the reader at {self.seq}")

    def _sorted(self) -> dict[str, list[list[str]]]:
        return {
            "bids": [list(level) for level in sorted(self._levels["bids"].items(), key=_price, reverse=True)],
            "asks": [list(level) for level in sorted(self._levels["asks"].items(), key=_price)],
        }


async def _subscribe(socket: Any, channel: str, symbol: str, from_seq: int | None) -> None:
    resume = {} if from_seq is None else {"from_seq": from_seq}
    await socket.send(json.dumps({"op": "subscribe", "ch": channel, "syms": [symbol]} | resume))


def _price(level: tuple[str, str]) -> float:
    return float(level[0])
