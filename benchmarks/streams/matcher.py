"""The plain-Python matcher that gives a stream its expected result; it shares no code with any engine."""

import heapq
from collections.abc import Callable

from benchmarks.streams.format import BID

HASH_FACTOR = 0x9E3779B97F4A7C15
MASK_64 = (1 << 64) - 1
COMPACT_AFTER = 64


class MatcherBook:
    """Levels by side and price, a list of orders each, of which the dead are skipped; heaps of prices."""

    __slots__ = ("heaps", "levels", "live")

    def __init__(self) -> None:
        self.levels: tuple[dict, dict] = ({}, {})
        self.heaps: tuple[list, list] = ([], [])
        self.live: tuple[dict, dict] = ({}, {})

    def best(self, side: int) -> int | None:
        """The best price of a side; empty levels met on the way are dropped."""
        heap, live = self.heaps[side], self.live[side]
        while heap:
            price = -heap[0] if side == BID else heap[0]
            if live.get(price, 0) > 0:
                return price
            heapq.heappop(heap)
            self.levels[side].pop(price, None)
            live.pop(price, None)
        return None

    def rest(self, order: list) -> None:
        """Put an order [id, quantity, book, side, price] at the end of its level."""
        side, price = order[3], order[4]
        level = self.levels[side].get(price)
        if level is None:
            self.levels[side][price] = [[order], 0]
            self.live[side][price] = 1
            heapq.heappush(self.heaps[side], -price if side == BID else price)
        else:
            level[0].append(order)
            self.live[side][price] = self.live[side].get(price, 0) + 1


class Matcher:
    """Books, all live orders in a list from which one can be drawn at random, and the running result."""

    def __init__(self, books: int, shown_id: Callable[[int], int]) -> None:
        self.books = [MatcherBook() for _ in range(books)]
        self.orders: dict[int, list] = {}
        self.ids: list[int] = []
        self.places: dict[int, int] = {}
        self.shown_id = shown_id
        self.trades = self.quantity = self.checksum = self.cancels = self.live_quantity = 0

    def forget(self, order_id: int) -> None:
        """Take an id out of the list by moving the last one to its place."""
        del self.orders[order_id]
        place, last = self.places.pop(order_id), self.ids.pop()
        if last != order_id:
            self.ids[place] = last
            self.places[last] = place

    def take_out(self, order_id: int) -> None:
        """Take an order out of its book."""
        order = self.orders[order_id]
        self.forget(order_id)
        self.books[order[2]].live[order[3]][order[4]] -= 1
        self.live_quantity -= order[1]
        order[1] = 0

    def cancel(self, order_id: int) -> None:
        self.take_out(order_id)
        self.cancels += 1

    def count(self, maker_id: int, taker_id: int, price: int, quantity: int) -> None:
        """Add a trade to the result."""
        mixed = (self.shown_id(maker_id) * 0x1000003) ^ (self.shown_id(taker_id) * 0x10001) ^ (price * 0x101) ^ quantity
        self.checksum = (self.checksum * HASH_FACTOR + mixed) & MASK_64
        self.trades += 1
        self.quantity += quantity
        self.live_quantity -= quantity

    def take_level(self, order_id: int, book: MatcherBook, side: int, price: int, left: int) -> int:
        """Trade against one level, oldest first; gives what is left."""
        level = book.levels[side][price]
        orders, first = level
        while left and first < len(orders):
            maker = orders[first]
            if maker[1] == 0:
                first += 1
                continue
            traded = min(maker[1], left)
            maker[1] -= traded
            left -= traded
            self.count(maker[0], order_id, price, traded)
            if maker[1] == 0:
                first += 1
                book.live[side][price] -= 1
                self.forget(maker[0])
        level[1] = first
        if first > COMPACT_AFTER and first * 2 > len(orders):
            del orders[:first]
            level[1] = 0
        return left

    def add(self, order_id: int, number: int, side: int, price: int, quantity: int, immediate: bool) -> None:
        """Match a limit order and rest what is left, unless it is immediate-or-cancel."""
        book, left = self.books[number], quantity
        while left:
            best = book.best(1 - side)
            if best is None or (best > price if side == BID else best < price):
                break
            left = self.take_level(order_id, book, 1 - side, best, left)
        if left and not immediate:
            order = [order_id, left, number, side, price]
            book.rest(order)
            self.orders[order_id] = order
            self.places[order_id] = len(self.ids)
            self.ids.append(order_id)
            self.live_quantity += left
