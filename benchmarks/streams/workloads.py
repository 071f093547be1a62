"""The workloads: what is drawn at random, command by command, until a stream is full.

    w1  one book, 50,000 resting; 52 % new, 38 % cancel, 10 % aggressive       w1s  the same with sparse 62-bit ids
    w2  256 books by Zipf's law, 50,000 resting      w3  sweeps of hundreds of orders through many levels
    w4  82 % moves with 1,000 resting (exchange-core's published mix)
    wm  1,000,000 resting, for memory                w1k  small, for smoke tests

The draws follow the generator of the shared bench kit step by step, so that the files are equal to its files.
"""

import random
from collections.abc import Callable, Iterator

from benchmarks.streams.format import BID, CANCEL, IMMEDIATE, LIMIT, MOVE, Header
from benchmarks.streams.matcher import Matcher

MID = 10_000
MASK_62 = (1 << 62) - 1
SPARSE = 1


def plain_id(order_id: int) -> int:
    return order_id


def sparse_id(order_id: int) -> int:
    """Spread the numbers 1, 2, 3 … over [1, 2^62), each to its own."""
    mixed = (order_id * 0x2545F4914F6CDD1D) & MASK_62
    mixed ^= mixed >> 29
    mixed = (mixed * 0x1B873593CC9E2D51) & MASK_62
    mixed ^= mixed >> 31
    return mixed or MASK_62


class Workload:
    """A stream in the making: draws, commands so far, and the matcher that follows them."""

    def __init__(self, seed: int, books: int, shown_id: Callable[[int], int] = plain_id) -> None:
        self.random = random.Random(seed)
        self.matcher = Matcher(books, shown_id)
        self.shown_id = shown_id
        self.commands: list[tuple] = []
        self.next_id = 1
        self.fill_commands = 0

    def emit(self, operation: int, side: int, book: int, quantity: int, price: int, account: int, order: int) -> None:
        self.commands.append((operation, side, book, quantity, price, account, self.shown_id(order)))

    def add(self, book: int, side: int, price: int, quantity: int, immediate: bool = False) -> None:
        """A new order under the next id, of a random account."""
        order_id, self.next_id = self.next_id, self.next_id + 1
        account = self.random.randrange(1, 1001)
        self.emit(IMMEDIATE if immediate else LIMIT, side, book, quantity, price, account, order_id)
        self.matcher.add(order_id, book, side, price, quantity, immediate)

    def random_order(self) -> list:
        """One of the live orders: [id, quantity, book, side, price]."""
        ids = self.matcher.ids
        return self.matcher.orders[ids[self.random.randrange(len(ids))]]

    def cancel_random(self) -> None:
        order_id, quantity, book, side, price = self.random_order()
        self.emit(CANCEL, side, book, quantity, price, 0, order_id)
        self.matcher.cancel(order_id)

    def move(self, order_id: int, side: int, quantity: int, price: int) -> None:
        self.emit(MOVE, side, 0, quantity, price, 0, order_id)
        self.matcher.take_out(order_id)
        self.matcher.add(order_id, 0, side, price, quantity, False)

    def header(self) -> Header:
        """What the stream holds and comes to."""
        matcher = self.matcher
        prices = [command[4] for command in self.commands if command[0] != CANCEL]
        return Header(
            fill_commands=self.fill_commands,
            commands=len(self.commands) - self.fill_commands,
            books=len(matcher.books),
            flags=SPARSE if self.shown_id is sparse_id else 0,
            order_id_max=max(command[6] for command in self.commands),
            price_min=min(prices),
            price_max=max(prices),
            trades=matcher.trades,
            quantity=matcher.quantity,
            checksum=matcher.checksum,
            live=len(matcher.orders),
            live_quantity=matcher.live_quantity,
            cancels=matcher.cancels,
        )


def draw_distance(draw: random.Random, cap: int) -> int:
    """Ticks from the middle: half of them near, half of them far."""
    distance = 1 + int(draw.expovariate(1 / 10.0 if draw.random() < 0.5 else 1 / 180.0))
    return distance if distance <= cap else draw.randrange(1, cap)


def rest_passive(work: Workload, book: int, mid: int, cap: int = 600) -> None:
    """An order that does not cross."""
    side, distance = work.random.randrange(2), draw_distance(work.random, cap)
    price = mid - distance if side == BID else mid + distance
    best = work.matcher.books[book].best(1 - side)
    if best is not None:
        price = min(price, best - 1) if side == BID else max(price, best + 1)
    work.add(book, side, price, work.random.randrange(1, 101))


def mixed(work: Workload, count: int, fill: int, resting: int, zipf: float | None = None) -> Iterator[None]:
    """New orders, cancels and aggressive orders around a wandering middle."""
    draw, books = work.random, work.matcher.books
    weights = [sum(1 / (i + 1) ** (zipf or 1) for i in range(n + 1)) for n in range(len(books))]

    def pick() -> int:
        return draw.choices(range(len(books)), cum_weights=weights)[0] if zipf else 0

    mids = [MID] * len(books)
    for _ in range(fill):
        book = pick()
        rest_passive(work, book, mids[book])
        yield
    work.fill_commands = len(work.commands)
    for _ in range(count):
        book = pick()
        if draw.random() < 0.02:
            mids[book] = min(10150, max(9850, mids[book] + (1 if draw.random() < 0.5 else -1)))
        dice, live = draw.random(), len(work.matcher.ids)
        if dice < 0.10:
            aggressive(work, book, mids[book])
        elif (dice < 0.55 and live > resting * 0.98) or live > resting * 1.05:
            work.cancel_random()
        else:
            rest_passive(work, book, mids[book])
        yield


def aggressive(work: Workload, book: int, mid: int) -> None:
    """An order at or a little through the best price; half of them immediate-or-cancel."""
    draw = work.random
    side = draw.randrange(2)
    best = work.matcher.books[book].best(1 - side)
    if best is None:
        rest_passive(work, book, mid)
        return
    price = best + draw.randrange(0, 6) * (1 if side == BID else -1)
    quantity = draw.randrange(1, 151)
    work.add(book, side, price, quantity, draw.random() < 0.5)


def sweeps(work: Workload, count: int, fill: int) -> Iterator[None]:
    """400 resting orders, then one that takes about as many through every level it needs."""
    draw = work.random

    def rest() -> None:
        side, distance = draw.randrange(2), draw.randrange(1, 201)
        work.add(0, side, MID - distance if side == BID else MID + distance, draw.randrange(1, 101))

    for _ in range(fill):
        rest()
        yield
    work.fill_commands = len(work.commands)
    while len(work.commands) - work.fill_commands < count:
        for _ in range(400):
            rest()
            yield
        side = draw.randrange(2)
        work.add(0, side, MID + 300 if side == BID else MID - 300, 390 * 50, immediate=True)
        yield


def moves(work: Workload, count: int, resting: int) -> Iterator[None]:
    """9 % new, 3 % immediate, 6 % cancel, 82 % move."""
    draw = work.random
    for _ in range(resting):
        side = draw.randrange(2)
        work.add(0, side, far_price(draw, side), draw.randrange(1, 101))
        yield
    work.fill_commands = len(work.commands)
    for _ in range(count):
        one_of_the_moves_mix(work, resting)
        yield


def far_price(draw: random.Random, side: int) -> int:
    distance = 1 + int(draw.expovariate(1 / 250.0))
    while distance > 900:
        distance = 1 + int(draw.expovariate(1 / 250.0))
    return MID - distance if side == BID else MID + distance


def one_of_the_moves_mix(work: Workload, resting: int) -> None:
    draw, book, live = work.random, work.matcher.books[0], len(work.matcher.ids)
    dice = draw.random()
    if not live or dice < 0.09 or (dice < 0.15 and live < resting * 0.95):
        side = draw.randrange(2)
        price = far_price(draw, side)
        if draw.random() < 0.15:
            best = book.best(1 - side)
            price = price if best is None else best
        work.add(0, side, price, draw.randrange(1, 101))
    elif dice < 0.12:
        side = draw.randrange(2)
        best = book.best(1 - side)
        work.add(0, side, (MID if best is None else best) + (2 if side == BID else -2), draw.randrange(1, 101), True)
    elif dice < 0.18:
        work.cancel_random()
    else:
        order_id, quantity, _, side, _ = work.random_order()
        price = far_price(draw, side)
        if draw.random() < 0.02:
            best = book.best(1 - side)
            price = price if best is None else best
        work.move(order_id, side, quantity, price)


Recipe = tuple[Callable[[], Workload], Callable[[Workload], Iterator[None]]]

WORKLOADS: dict[str, Recipe] = {
    "w1": (lambda: Workload(7, 1), lambda work: mixed(work, 1_000_000, 50_000, 50_000)),
    "w1s": (lambda: Workload(7, 1, sparse_id), lambda work: mixed(work, 1_000_000, 50_000, 50_000)),
    "w2": (lambda: Workload(11, 256), lambda work: mixed(work, 1_000_000, 50_000, 50_000, zipf=1.0)),
    "w3": (lambda: Workload(13, 1), lambda work: sweeps(work, 1_000_000, 20_000)),
    "w4": (lambda: Workload(17, 1), lambda work: moves(work, 1_000_000, 1_000)),
    "wm": (lambda: Workload(19, 1), lambda work: mixed(work, 1_000, 1_000_000, 1_000_000)),
    "w1k": (lambda: Workload(7, 1), lambda work: mixed(work, 20_000, 5_000, 5_000)),
}
