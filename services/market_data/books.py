"""Depth of one contract's book, made of events: GPUs per price, the changes of one command, and its checksum."""

from bisect import bisect_left, insort
from functools import lru_cache
from zlib import crc32

from schemas.money import format_micros
from schemas.orders import Side

CHECKSUM_LEVELS = 10

price_text = lru_cache(maxsize=65_536)(format_micros)


class BookDisagrees(Exception):
    """The events take more GPUs off a price than the view has there."""


class Ladder:
    """One side: GPUs per price, the best price first whichever side it is."""

    __slots__ = ("_keys", "_sign", "gpus")

    def __init__(self, side: Side) -> None:
        self._sign = -1 if side == "buy" else 1
        self._keys: list[int] = []
        self.gpus: dict[int, int] = {}

    def change(self, price_micros: int, delta: int) -> int:
        """Add GPUs (or take them off) at a price and return what stood there before."""
        before = self.gpus.get(price_micros, 0)
        after = before + delta
        if after < 0:
            raise BookDisagrees(f"{before} GPUs at {price_micros}, {-delta} to be taken off")
        if after == 0:
            self.gpus.pop(price_micros, None)
            if before:
                del self._keys[bisect_left(self._keys, self._sign * price_micros)]
        else:
            self.gpus[price_micros] = after
            if not before:
                insort(self._keys, self._sign * price_micros)
        return before

    def best(self) -> tuple[int, int] | None:
        """Return (price in micro-units, GPUs) of the best level; None for an empty side."""
        if not self._keys:
            return None
        price_micros = self._sign * self._keys[0]
        return price_micros, self.gpus[price_micros]

    def levels(self, depth: int | None = None) -> list[tuple[int, int]]:
        """Return the best `depth` levels (all of them without), best first."""
        sign, gpus = self._sign, self.gpus
        return [(sign * key, gpus[sign * key]) for key in self._keys[:depth]]


class Book:
    """Both sides of a contract. `seq` is the last event of the last command that changed a level. [F-7]"""

    __slots__ = ("_before", "asks", "bids", "seq")

    def __init__(self) -> None:
        self.bids = Ladder("buy")
        self.asks = Ladder("sell")
        self.seq = 0
        self._before: dict[tuple[Side, int], int] = {}

    def side(self, side: Side) -> Ladder:
        return self.bids if side == "buy" else self.asks

    def change(self, side: Side, price_micros: int, delta: int) -> None:
        """Add or take off GPUs at a price, and remember what stood there before the command."""
        before = self.side(side).change(price_micros, delta)
        self._before.setdefault((side, price_micros), before)

    def drain_changes(self) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Return the levels (bids, asks) that differ from before the command, 0 for one gone; forget them. [F-8]"""
        bids, asks = [], []
        for (side, price_micros), before in self._before.items():
            now = self.side(side).gpus.get(price_micros, 0)
            if now != before:
                (bids if side == "buy" else asks).append((price_micros, now))
        self._before.clear()
        return sorted(bids, reverse=True), sorted(asks)

    def checksum(self) -> int:
        """CRC32 over the ten best asks low to high, then the ten best bids high to low. [F-9]"""
        levels = self.asks.levels(CHECKSUM_LEVELS) + self.bids.levels(CHECKSUM_LEVELS)
        return checksum([(price_text(price), str(gpus)) for price, gpus in levels])


def checksum(levels: list[tuple[str, str]]) -> int:
    """CRC32 of (price, quantity) texts as a message has them, without points and leading zeros, concatenated."""
    return crc32("".join(_digits(price) + _digits(qty) for price, qty in levels).encode())


def _digits(text: str) -> str:
    return text.replace(".", "").lstrip("0")
