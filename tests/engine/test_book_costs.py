"""No command of a book costs more because a level, the book or a price range is large, or because there are many books.

Bounds are wide, for shared machines: what they catch is a walk over the level or the book, a hundredfold and more.
`bench costs` measures what these tests only bound.
"""

from pathlib import Path

import pytest

from benchmarks.costs.allocations import measure_allocations
from benchmarks.costs.shapes import deep_cancel_ratio, empty_range_ratio, ns_per_command, record, sweep_ratio
from benchmarks.costs.streams import draw
from benchmarks.engine import is_expected, run_book
from benchmarks.floor.program import FloorError
from benchmarks.harness.book import BookSet
from benchmarks.harness.stream import StreamRunner
from benchmarks.streams.format import BID, COMMAND, MOVE
from benchmarks.streams.generate import generate_stream

ORDERS = 10_000
FACTOR_MAX = 6
ROUNDS = 7


def test_a_cancel_in_a_level_of_10000_costs_as_much_as_one_of_an_order_alone_at_its_price():
    assert deep_cancel_ratio(ROUNDS) < FACTOR_MAX


def test_a_sweep_of_10000_orders_costs_per_order_as_much_as_10000_small_trades():
    assert sweep_ratio(ROUNDS) < FACTOR_MAX


def test_an_empty_price_range_costs_nothing_to_search():
    assert empty_range_ratio(ROUNDS) < FACTOR_MAX


def test_a_few_far_prices_cost_the_near_ones_little():
    near = [record(i, BID, 100 + i % 50) for i in range(1, 1_001)]
    far = [record(2_000 + power, BID, -(2**power)) for power in range(31)]
    work = [record(i % 1_000 + 1, BID, 100 + i % 37, MOVE) for i in range(ORDERS)]
    assert ns_per_command(near + far, work, ROUNDS) < FACTOR_MAX * ns_per_command(near, work, ROUNDS)


def ns_of_resting(resting: int, books: int) -> float:
    """The least CPU time of a command where so many orders rest in so many books; results are those of the stream."""
    header, commands = draw(resting, books, commands=20_000)
    packed = memoryview(b"".join(COMMAND.pack(*command) for command in commands))
    rounds = [run_book(header, packed) for _ in range(ROUNDS)]
    assert all(is_expected(header, totals) for _, totals in rounds)
    return min(spent_ns for spent_ns, _ in rounds)


def test_thousands_of_thin_books_cost_little_more_than_one_of_their_size():
    assert ns_of_resting(100_000, books=2_000) < FACTOR_MAX * ns_of_resting(100_000, books=1)


def test_a_hundred_times_as_many_resting_orders_cost_no_more_than_misses_of_the_cache():
    assert ns_of_resting(100_000, books=1) < FACTOR_MAX * ns_of_resting(1_000, books=1)


def test_a_resting_order_takes_less_than_100_bytes():
    runner = StreamRunner(1)
    runner.apply_stream(b"".join(record(i, BID, i % 1_000) for i in range(1, 200_001)))
    assert runner.books.memory_bytes() / 200_000 <= 100


def test_an_empty_book_takes_less_than_1_kb():
    assert BookSet(1_000).memory_bytes() / 1_000 <= 1_000


def test_slots_that_are_free_again_are_used_again():
    books = BookSet(1)
    for order_id in range(100):
        books.rest(0, 0, order_id * 1_000, 1, order_id)
    before = books.memory_bytes()
    for order_id in range(100, 10_000):
        books.cancel(order_id - 100)
        books.rest(0, 0, order_id * 1_000, 1, order_id)
    assert books.memory_bytes() <= before * 1.1


def test_in_the_steady_state_a_book_asks_for_no_memory(tmp_path: Path):
    generate_stream("w1k", tmp_path / "w1k.bin")
    try:
        counted = measure_allocations(tmp_path / "w1k.bin", tmp_path)
    except FloorError as error:
        pytest.skip(str(error))
    assert counted["book"] == 0
