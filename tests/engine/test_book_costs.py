"""No command of a book costs more because a level, the book or a price range is large.

Bounds are wide, for shared machines: what they catch is a walk over the level or the book, a hundredfold and more.
"""

import random
import time

from benchmarks.streams.format import COMMAND
from matching_engine.book import BookSet
from matching_engine.stream import StreamRunner

ORDERS = 10_000
FACTOR_MAX = 6
ROUNDS = 7


def limit(order_id: int, side: int, price: int, operation: int = 0, quantity: int = 1) -> bytes:
    return COMMAND.pack(operation, side, 0, quantity, price, 1, order_id)


def ns_per_command(fill: bytes, measured: bytes) -> float:
    """The least CPU time of some rounds, each on fresh books."""
    spent = []
    for _ in range(ROUNDS):
        runner = StreamRunner(1)
        runner.apply_stream(fill)
        begin_ns = time.thread_time_ns()
        runner.apply_stream(measured)
        spent.append(time.thread_time_ns() - begin_ns)
        assert runner.totals().refused == 0
    return min(spent) / (len(measured) // COMMAND.size)


def shuffled_cancels() -> bytes:
    ids = list(range(1, ORDERS + 1))
    random.Random(1).shuffle(ids)
    return b"".join(limit(order_id, 0, 0, operation=2) for order_id in ids)


def test_a_cancel_in_a_level_of_10000_costs_as_much_as_one_of_an_order_alone_at_its_price():
    one_level = b"".join(limit(i, 0, 100) for i in range(1, ORDERS + 1))
    own_levels = b"".join(limit(i, 0, i) for i in range(1, ORDERS + 1))
    deep, shallow = ns_per_command(one_level, shuffled_cancels()), ns_per_command(own_levels, shuffled_cancels())
    assert deep < FACTOR_MAX * shallow


def test_a_sweep_of_10000_orders_costs_per_order_as_much_as_10000_small_trades():
    fill = b"".join(limit(i, 1, i) for i in range(1, ORDERS + 1))
    sweep = limit(ORDERS + 1, 0, ORDERS, operation=1, quantity=ORDERS)
    single = b"".join(limit(ORDERS + i, 0, ORDERS, operation=1) for i in range(1, ORDERS + 1))
    assert ns_per_command(fill, sweep) / ORDERS < FACTOR_MAX * ns_per_command(fill, single)


def test_an_empty_price_range_costs_nothing_to_search():
    near = [limit(1, 1, 101), limit(2, 1, 102)]
    far = [limit(1, 1, 101), limit(2, 1, 2**31 - 1)]
    toggle = [limit(1, 0, 0, operation=2), limit(1, 1, 101)]
    costs = [ns_per_command(b"".join(fill), b"".join(toggle * ORDERS)) for fill in (near, far)]
    assert costs[1] < FACTOR_MAX * costs[0]


def test_a_few_far_prices_cost_the_near_ones_little():
    near = [limit(i, 0, 100 + i % 50) for i in range(1, 1_001)]
    far = [limit(2_000 + power, 0, -(2**power)) for power in range(31)]
    work = b"".join(limit(i % 1_000 + 1, 0, 100 + i % 37, operation=3) for i in range(ORDERS))
    assert ns_per_command(b"".join(near + far), work) < FACTOR_MAX * ns_per_command(b"".join(near), work)


def test_a_resting_order_takes_less_than_100_bytes():
    runner = StreamRunner(1)
    runner.apply_stream(b"".join(limit(i, 0, i % 1_000) for i in range(1, 200_001)))
    assert runner.books.memory_bytes() / 200_000 <= 100


def test_slots_that_are_free_again_are_used_again():
    books = BookSet(1)
    for order_id in range(100):
        books.rest(0, 0, order_id * 1_000, 1, order_id)
    before = books.memory_bytes()
    for order_id in range(100, 10_000):
        books.cancel(order_id - 100)
        books.rest(0, 0, order_id * 1_000, 1, order_id)
    assert books.memory_bytes() <= before * 1.1
