"""Command streams of fixed 24-byte records through bare books: one call for a batch, without the GIL.

A record, little-endian: operation u8 (0 limit, 1 immediate-or-cancel, 2 cancel, 3 move), side u8, book u16,
quantity u32, price i32, account u32, order id u64. A move is a cancel and a new limit order with the same id. A record
that names no book or side, an id that rests already, or an id that does not rest is refused and counted.
"""

from array import array
from typing import NamedTuple

from benchmarks.harness.book import BookSet

def read_ticks() -> int:
    """The processor's counter, which advances at a steady rate."""

def empty_ticks() -> int:
    """What two readings take with nothing between them, at least."""

class BadStream(ValueError):
    """The bytes are not a whole number of command records."""

class StreamTotals(NamedTuple):
    """What all batches together came to; `checksum` folds every trade as benchmarks/streams describes."""

    trades: int
    quantity: int
    checksum: int
    live: int
    live_quantity: int
    cancels: int
    refused: int

class TapeTrade(NamedTuple):
    """One trade of the last batch."""

    maker_id: int
    taker_id: int
    price: int
    quantity: int

class StreamRunner:
    """Books that take command streams."""

    books: BookSet

    def __init__(self, books: int = 1) -> None:
        """Start with this many empty books."""

    def apply_stream(self, commands: bytes | bytearray | memoryview) -> int:
        """Apply a batch of records, and give the number of its trades."""

    def apply_one(
        self, operation: int, side: int, book: int, quantity: int, price: int, account: int, order_id: int
    ) -> int:
        """Apply one command, and give the number of its trades."""

    def time_each(self, commands: bytes | bytearray | memoryview, ticks: array[int]) -> None:
        """Apply records one by one, without looking ahead, and note how many ticks each took; for measuring."""

    def tape_trades(self) -> list[TapeTrade]:
        """The trades of the last batch."""

    def totals(self) -> StreamTotals:
        """The totals since the start."""
