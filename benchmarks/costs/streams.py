"""Streams for one question each: bids that rest, then as many cancels of random ones as new bids. Nothing trades."""

import random
from pathlib import Path

from benchmarks.streams.format import BID, CANCEL, COMMAND, HEADER_BYTES, LIMIT, Header, read_stream, write_stream

PRICES = 200


def resting_stream(folder: Path, resting: int, books: int = 1, commands: int = 200_000) -> Path:
    """The file of a stream with so many bids resting in so many books, made where it is missing."""
    path = folder / f"resting-{resting}-{books}-{commands}.bin"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_stream(path, *draw(resting, books, commands))
    return path


def draw(resting: int, books: int, commands: int) -> tuple[Header, list[tuple]]:
    """The bids are spread evenly over the books, and at random over the prices."""
    dice = random.Random(resting * 31 + books)
    live = [bid(dice, order_id, order_id % books) for order_id in range(1, resting + 1)]
    drawn = list(live)
    for number in range(commands // 2):
        place = dice.randrange(resting)
        gone = live[place]
        live[place] = bid(dice, resting + number + 1, gone[2])
        drawn += ((CANCEL, *gone[1:]), live[place])
    header = Header(
        fill_commands=resting,
        commands=len(drawn) - resting,
        books=books,
        flags=0,
        order_id_max=resting + commands // 2,
        price_min=1,
        price_max=PRICES,
        trades=0,
        quantity=0,
        checksum=0,
        live=resting,
        live_quantity=sum(order[3] for order in live),
        cancels=commands // 2,
    )
    return header, drawn


def bid(dice: random.Random, order_id: int, book: int) -> tuple:
    return LIMIT, BID, book, dice.randrange(1, 101), dice.randrange(1, PRICES + 1), dice.randrange(1, 1001), order_id


def beginning(path: Path, target: Path, commands: int) -> Path:
    """A copy of a stream that ends after so many of its measured commands; its results are not told."""
    header, records = read_stream(path)
    end = (header.fill_commands + commands) * COMMAND.size
    data = path.read_bytes()[:HEADER_BYTES] + bytes(records[:end])
    target.write_bytes(data)
    return target
