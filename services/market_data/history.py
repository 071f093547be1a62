"""What goes into the history tables, and what comes out of them."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from schemas.events import IndexSet, Trade
from schemas.orders import Side
from schemas.venue import IndexFixed
from services.market_data.candles import Candle
from services.market_data.domain import Changes
from services.market_data.index import METHOD

REACH_TIMEOUT_S = 2.0


class HistoryBehind(Exception):
    """The tables do not have yet what the feed has shown."""


class Stored:
    """How far the tables are: a reader who saw a trade in the feed finds it here, or is told to ask again."""

    def __init__(self) -> None:
        self.seq = 0
        self._moved, self.wanted = asyncio.Event(), asyncio.Event()

    def move(self, seq: int) -> None:
        """Say that everything up to `seq` is written."""
        self.seq = seq
        self._moved.set()
        self._moved = asyncio.Event()

    async def reach(self, seq: int) -> None:
        """Wait until everything up to `seq` is written, which is then wanted at once. Raises HistoryBehind after two
        seconds.
        """
        try:
            async with asyncio.timeout(REACH_TIMEOUT_S):
                while self.seq < seq:
                    self.wanted.set()
                    await self._moved.wait()
        except TimeoutError as error:
            raise HistoryBehind(f"written up to {self.seq}, seen up to {seq}") from error


class PastTrade(NamedTuple):
    """A row of the table `trade`."""

    seq: int
    ts_ms: int
    trade_id: int
    contract: str
    price_micros: int
    qty: int
    taker_side: Side | None


class PastIndex(NamedTuple):
    """A row of the table `index_value`."""

    contract: str
    seq: int
    ts_ms: int
    index_micros: int
    level: int
    method: str
    inputs_digest: str


@dataclass
class History:
    """What is added to the tables in one transaction, and the index values that it is time to fix."""

    trades: list[Trade] = field(default_factory=list)
    candles: dict[tuple[str, str, int], Candle] = field(default_factory=dict)
    indexes: list[IndexSet] = field(default_factory=list)
    fixings: list[IndexFixed] = field(default_factory=list)

    def __len__(self) -> int:
        return sum(map(len, (self.trades, self.candles, self.indexes, self.fixings)))

    def rows(self) -> Iterator["History"]:
        """Yield each row as a history of its own."""
        yield from (History(trades=[each]) for each in self.trades)
        yield from (History(candles={key: each}) for key, each in self.candles.items())
        yield from (History(indexes=[each]) for each in self.indexes)
        yield from (History(fixings=[each]) for each in self.fixings)

    def add(self, changes: Changes) -> None:
        """Add what one command changed; of a candle the last state counts."""
        self.trades += changes.trades
        self.candles |= changes.candles
        self.indexes += changes.indexes
        for contract, value in changes.fixings:
            self.fixings.append(
                IndexFixed(
                    contract=contract.contract,
                    index_micros=value.index_micros,
                    level=value.level,
                    method=METHOD,
                    inputs_digest=value.inputs_digest,
                )
            )
