"""A book folded from events: levels, deltas, checksum."""

from zlib import crc32

import pytest

from services.market_data.books import Book, BookDisagrees, Ladder, checksum


def test_levels_stand_best_first_on_both_sides():
    book = Book()
    for price, gpus in ((3, 1), (1, 2), (2, 3)):
        book.change("buy", price, gpus)
        book.change("sell", price + 10, gpus)
    assert book.bids.levels() == [(3, 1), (2, 3), (1, 2)]
    assert book.asks.levels() == [(11, 2), (12, 3), (13, 1)]
    assert (book.bids.best(), book.asks.best()) == ((3, 1), (11, 2))


def test_a_level_without_gpus_is_gone():
    ladder = Ladder("sell")
    ladder.change(5, 2)
    ladder.change(5, -2)
    assert (ladder.levels(), ladder.best()) == ([], None)


def test_taking_more_than_there_is_stops_the_view():
    ladder = Ladder("buy")
    ladder.change(5, 2)
    with pytest.raises(BookDisagrees):
        ladder.change(5, -3)


def test_changes_hold_only_levels_that_differ_from_before_the_command():
    """Holds [F-8]"""
    book = Book()
    book.change("sell", 100, 4)
    assert book.drain_changes() == ([], [(100, 4)])
    book.change("buy", 120, 3)
    book.change("buy", 120, -3)
    book.change("sell", 100, -3)
    assert book.drain_changes() == ([], [(100, 1)])
    book.change("sell", 100, -1)
    assert book.drain_changes() == ([], [(100, 0)])
    assert book.drain_changes() == ([], [])


def test_the_checksum_reads_asks_up_then_bids_down_without_points_and_leading_zeros():
    """Holds [F-9]"""
    book = Book()
    book.change("sell", 12_850_000, 40)
    book.change("sell", 12_900_000, 8)
    book.change("buy", 12_840_000, 5)
    book.change("buy", 50_000, 7)
    assert book.checksum() == crc32(b"".join((b"128540", b"12908", b"12845", b"57")))


def test_the_checksum_covers_ten_levels_a_side():
    book = Book()
    for step in range(12):
        book.change("sell", 20_000_000 + step * 10_000, 1)
    ten = [(f"20.{step:02d}", "1") for step in range(10)]
    assert book.checksum() == checksum(ten)
