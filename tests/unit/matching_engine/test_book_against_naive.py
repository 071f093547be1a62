"""Property: whatever is done to the books of one set, they answer and stand as the plainest book would."""

from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.harness.audit import check_books
from benchmarks.harness.book import BookSet, OrderBook
from tests.engine.naive_book import ASK, BID, NaiveBook

PAGE_EDGES = [sign * 64**power + step for power in range(11) for sign in (-1, 1) for step in (-1, 0, 1)]
EXTREMES = [-(2**63), 2**63 - 1]

# ids whose hashes are this small number of top bits, then 0, 1, 2 …: they share a few homes, and 32 bits of hash
UNHASH = pow(0x9E3779B97F4A7C15, -1, 2**64)
CROWDED_IDS = [(home << 58 | i) * UNHASH % 2**64 for home in (0, 1, 2, 62, 63) for i in range(8)]

few_ids = st.integers(0, 30)
close_prices = st.integers(98, 102)
any_prices = st.one_of(
    close_prices,
    st.integers(-200, 200),
    st.sampled_from([price for price in PAGE_EDGES if abs(price) < 2**63] + EXTREMES),
    st.integers(*EXTREMES),
)
quantities = st.one_of(st.integers(1, 5), st.integers(1, 2**40))


def steps(prices: st.SearchStrategy[int], ids: st.SearchStrategy[int] = few_ids) -> st.SearchStrategy:
    """Adds, cancels and moves on two books; ids come from a few, so that they are used again and again."""
    books, sides = st.integers(0, 1), st.integers(0, 1)
    add = st.tuples(st.just("add"), books, ids, sides, prices, quantities, st.booleans())
    cancel = st.tuples(st.just("cancel"), books, ids)
    move = st.tuples(st.just("move"), books, ids, prices, quantities)
    return st.lists(st.one_of(add, add, cancel, move), max_size=60)


def apply(step: tuple, books: list, naive: list[NaiveBook]) -> None:
    """Do one step to both books and compare the answers; ids that cannot take part are left out."""
    what, number, order_id, *rest = step
    holder = next((i for i, book in enumerate(naive) if book.find(order_id)), None)
    if what == "add" and holder is None:
        assert books[number].add(order_id, *rest) == naive[number].add(order_id, *rest)
    elif what == "cancel" and holder is not None:
        assert books[holder].cancel(order_id) == naive[holder].cancel(order_id)
    elif what == "move" and holder is not None:
        assert books[holder].move(order_id, *rest) == naive[holder].move(order_id, *rest)


def run(script: list[tuple]) -> None:
    owner = BookSet()
    books, naive = [OrderBook(owner), OrderBook(owner)], [NaiveBook(), NaiveBook()]
    for step in script:
        apply(step, books, naive)
        for book, plain in zip(books, naive, strict=True):
            for side in (BID, ASK):
                assert book.best(side) == next(iter(plain.depth(side)), None)
        check_books(owner)
    for book, plain in zip(books, naive, strict=True):
        for side in (BID, ASK):
            assert book.orders(side) == plain.orders(side)
            assert book.depth(side) == plain.depth(side)


@settings(max_examples=300, deadline=None)
@given(steps(close_prices))
def test_books_with_many_ties_stand_as_the_plainest_book_would(script):
    run(script)


@settings(max_examples=300, deadline=None)
@given(steps(any_prices))
def test_books_over_the_whole_range_of_prices_stand_as_the_plainest_book_would(script):
    run(script)


@settings(max_examples=300, deadline=None)
@given(steps(st.integers(1, 1_000), st.sampled_from(CROWDED_IDS)))
def test_ids_with_colliding_hashes_are_told_apart(script):
    run(script)
