"""How the cost of a command grows with the number of books and of resting orders, and what memory they take."""

import os
from pathlib import Path

from benchmarks.costs.streams import resting_stream
from benchmarks.engine import run_book
from benchmarks.exchange_stream import open_exchange, run_all
from benchmarks.floor.program import run_floor
from benchmarks.harness.book import BookSet
from benchmarks.harness.stream import StreamRunner
from benchmarks.streams.format import COMMAND, read_stream

SIZES = (1_000, 10_000, 100_000, 1_000_000)
BOOKS, ORDERS_PER_BOOK = 10_000, 100
EMPTY_BOOKS = 100_000


def least_ns(path: Path, floor: Path, rounds: int) -> tuple[float, float]:
    """CPU ns per command of book and floor, each of its least disturbed round."""
    header, commands = read_stream(path)
    book_ns, floor_ns = [], []
    for _ in range(rounds):
        floor_ns.append(run_floor(floor, path).cpu_ns_per_command)
        book_ns.append(run_book(header, commands)[0])
    return min(book_ns), min(floor_ns)


def measure_growth(folder: Path, floor: Path, rounds: int) -> dict[str, object]:
    """Nanoseconds per command from 1,000 to 1,000,000 resting orders; how much more the last takes than the first."""
    found = {resting: least_ns(resting_stream(folder, resting), floor, rounds) for resting in SIZES}
    book, base = ([found[resting][place] for resting in SIZES] for place in (0, 1))
    growth, floor_growth = book[-1] / book[0], base[-1] / base[0]
    return {
        "resting": list(SIZES),
        "book_ns": [round(ns, 1) for ns in book],
        "floor_ns": [round(ns, 1) for ns in base],
        "growth": round(growth, 2),
        "floor_growth": round(floor_growth, 2),
        "ratio": round(growth / floor_growth, 2),
    }


def measure_many_books(folder: Path, floor: Path, rounds: int) -> dict[str, object]:
    """10,000 books with 100 orders each, beside one book with as many."""
    resting = BOOKS * ORDERS_PER_BOOK
    many, many_floor = least_ns(resting_stream(folder, resting, BOOKS), floor, rounds)
    one, one_floor = least_ns(resting_stream(folder, resting), floor, rounds)
    return {
        "books": BOOKS,
        "resting": resting,
        "book_ns": round(many, 1),
        "one_book_ns": round(one, 1),
        "ratio": round(many / one, 2),
        "floor_ns": round(many_floor, 1),
        "floor_ratio": round(many_floor / one_floor, 2),
    }


# -- memory


def measure_memory(wm: Path) -> dict[str, object]:
    """Bytes of an empty book, and of a resting order in the book and in the whole exchange, its client's id included.

    The book says what it uses; for the exchange the process's resident memory is asked.
    """
    header, commands = read_stream(wm)
    filled = commands[: header.fill_commands * COMMAND.size]
    runner = StreamRunner(header.books)
    runner.apply_stream(filled)
    return {
        "empty_book_bytes": round(BookSet(EMPTY_BOOKS).memory_bytes() / EMPTY_BOOKS),
        "order_in_book_bytes": round(runner.books.memory_bytes() / len(runner.books), 1),
        "order_in_engine_bytes": exchange_bytes(header, filled),
        "resting": len(runner.books),
    }


def exchange_bytes(header, filled: memoryview) -> float:
    before = resident_bytes()
    _, runner = open_exchange(header)
    run_all(runner, filled, writes=False)
    taken = resident_bytes() - before - runner.own_bytes()
    return round(taken / runner.totals().live, 1)


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
