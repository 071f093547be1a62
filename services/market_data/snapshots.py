"""The present state of every stream, as the message that a new reader gets first."""

from functools import partial

from schemas.market_data import (
    AuctionSnapshot,
    BookSnapshot,
    CandlesSnapshot,
    CurveSnapshot,
    IndexSnapshot,
    RelaySnapshot,
    Resumable,
    StatusSnapshot,
    TickerSnapshot,
    TradesSnapshot,
)
from services.kit.rows import show_rows
from services.market_data import rows
from services.market_data.candles import intervals_for
from services.market_data.domain import Market
from services.market_data.feed import Stream
from services.market_data.relays import Relays

CONTRACT_CHANNELS = frozenset({"book", "trades", "ticker", "candles"})
PRODUCT_CHANNELS = frozenset({"trades", "candles", "curve", "index", "auction", "status"})
VENUE_CHANNELS = frozenset({"status", "listings", "delivery"})


class UnknownSymbol(Exception):
    """No such contract or product, or the channel does not have it."""


class UnknownInterval(Exception):
    """The symbol has no candles of this interval."""


class Snapshots:
    """Makes snapshots from the market and from what listings and delivery published."""

    def __init__(self, market: Market, relays: Relays) -> None:
        self._market, self._relays = market, relays

    def check(self, stream: Stream) -> None:
        """Raise UnknownSymbol or UnknownInterval for a stream that does not exist."""
        if stream.sym == "*":
            known = stream.ch in VENUE_CHANNELS
        elif stream.sym in self._market.contracts:
            known = stream.ch in CONTRACT_CHANNELS
        else:
            known = stream.sym in self._market.products and stream.ch in PRODUCT_CHANNELS
        if not known:
            raise UnknownSymbol(f"{stream.ch} {stream.sym}")
        if stream.ch == "candles" and stream.interval not in intervals_for(self._market.period_of(stream.sym)):
            raise UnknownInterval(f"{stream.interval} of {stream.sym}")

    def seq_of(self, stream: Stream) -> int:
        """Return up to where the stream's sequence has come: the shard's, or its own."""
        relay = self._relays.get(stream.ch)
        return self._market.seq if relay is None else relay.seq

    def of(self, stream: Stream, **marks: bool) -> Resumable:
        """Return the stream's snapshot; `marks` are `resync=True` or `conflated=True`."""
        return getattr(self, f"_{stream.ch}")(stream, marks)

    def _book(self, stream: Stream, marks: dict[str, bool]) -> Resumable:
        book = self._market.contracts[stream.sym].book
        bids, asks = rows.levels(book.bids.levels()), rows.levels(book.asks.levels())
        doubted_since = self._market.doubted.get(stream.sym)
        head = {"sym": stream.sym, "seq": book.seq, "doubted_since": doubted_since}
        return BookSnapshot(**head, bids=bids, asks=asks, crc=book.checksum(), **marks)

    def _trades(self, stream: Stream, marks: dict[str, bool]) -> Resumable:
        market = self._market
        view = market.contracts.get(stream.sym) or market.products[stream.sym]
        trades = show_rows(reversed(view.recent), rows.trade_row)
        return TradesSnapshot(sym=stream.sym, seq=market.seq, trades=trades, **marks)

    def _ticker(self, stream: Stream, marks: dict[str, bool]) -> Resumable:
        ticker = rows.ticker_row(self._market.contracts[stream.sym], self._market.doubted)
        return TickerSnapshot(sym=stream.sym, seq=self._market.seq, type="snapshot", ticker=ticker, **marks)

    def _candles(self, stream: Stream, marks: dict[str, bool]) -> Resumable:
        candles = show_rows(self._market.candles.series(stream.sym, stream.interval), rows.candle_row)
        return CandlesSnapshot(sym=stream.sym, interval=stream.interval, seq=self._market.seq, candles=candles, **marks)

    def _curve(self, stream: Stream, marks: dict[str, bool]) -> Resumable:
        points = show_rows(
            self._market.products[stream.sym].listed(), partial(rows.curve_point, doubted=self._market.doubted)
        )
        return CurveSnapshot(sym=stream.sym, seq=self._market.seq, points=points, **marks)

    def _index(self, stream: Stream, marks: dict[str, bool]) -> Resumable:
        values = show_rows(reversed(self._market.products[stream.sym].indexes), rows.index_row)
        return IndexSnapshot(sym=stream.sym, seq=self._market.seq, values=values, **marks)

    def _auction(self, stream: Stream, marks: dict[str, bool]) -> Resumable:
        indicated, results = rows.auction_rows(self._market.products[stream.sym])
        return AuctionSnapshot(sym=stream.sym, seq=self._market.seq, indicated=indicated, results=results, **marks)

    def _status(self, stream: Stream, marks: dict[str, bool]) -> Resumable:
        products = self._market.products
        views = products.values() if stream.sym == "*" else (products[stream.sym],)
        found = show_rows(views, rows.product_row)
        return StatusSnapshot(sym=stream.sym, seq=self._market.seq, products=found, **marks)

    def _listings(self, stream: Stream, marks: dict[str, bool]) -> Resumable:
        return self._relay(stream, marks)

    def _delivery(self, stream: Stream, marks: dict[str, bool]) -> Resumable:
        return self._relay(stream, marks)

    def _relay(self, stream: Stream, marks: dict[str, bool]) -> Resumable:
        relay = self._relays[stream.ch]
        return RelaySnapshot(ch=stream.ch, seq=relay.seq, items=tuple(relay.items()), **marks)
