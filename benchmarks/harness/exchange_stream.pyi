"""Command streams of fixed 24-byte records through the whole exchange, for measuring: money, holds, ids and all.

Every account of a stream is two here, one that buys and one that sells, so that nobody trades with himself, and the
seller's node has GPUs without end. A move is a cancel and a new order. Orders have other ids here than in the stream;
results are told in the stream's.
"""

from benchmarks.harness.stream import StreamTotals
from matching_engine.engine import Engine

class ExchangeRunner:
    """An engine that takes command streams, batch by batch: `load`, `run`, then `count` or `write`."""

    def __init__(
        self, engine: Engine, contracts: list[str], accounts: list[tuple[str, str, str]], tick: int, price_min: int
    ) -> None:
        """`accounts` are the names of buyer, seller and node of each account of the stream."""

    def load(self, records: bytes | memoryview) -> int:
        """Packs a batch of the stream's records into commands; gives how many those are."""

    def run(self, at_most: int = ...) -> int:
        """Applies the batch, or so many commands of it, into packed events; gives how many are left."""

    def write(self) -> tuple[int, int]:
        """Writes the last packed events as canonical JSON, linked; gives how many, and their bytes."""

    def count(self) -> None:
        """Adds the last packed events to the result."""

    def own_bytes(self) -> int:
        """What the stream's own tables take, which is not the exchange's memory."""

    def totals(self) -> StreamTotals:
        """The totals since the start."""
