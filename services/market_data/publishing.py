"""From what a command changed to the messages of the feed."""

from collections.abc import Iterator

from schemas.ids import product_of
from schemas.market_data import (
    AuctionUpdate,
    BookDelta,
    CandleUpdate,
    CurveUpdate,
    IndexUpdate,
    RelayUpdate,
    StatusUpdate,
    TickerSnapshot,
    TradeUpdate,
)
from services.market_data import rows
from services.market_data.contracts import ContractView
from services.market_data.domain import Changes, Market
from services.market_data.feed import Feed, Stream
from services.market_data.rows import levels

Kept = tuple[Stream, BookDelta | TradeUpdate | IndexUpdate | AuctionUpdate | StatusUpdate]


class Publishing:
    """Sends each change to its streams, none with an account's name in it. [F-12]

    Books, trades, index, auctions and status are kept for those who come back.
    """

    def __init__(self, market: Market, feed: Feed) -> None:
        self._market, self._feed = market, feed

    def publish(self, changes: Changes) -> None:
        """Send everything that one command changed.

        A kept message stands at the `seq` of its own event, a book's at the command's last: no two messages of a
        stream share one, so a reader who was cut off between them misses none.
        """
        singles = (*self._trades(changes), *self._indexes(changes), *self._auctions(changes))
        kept = (*singles, *self._statuses(changes), *self._books(changes))
        for stream, message in sorted(kept, key=lambda pair: pair[1].seq):
            self._feed.keep_and_send(stream, message.seq, changes.ts_ms, message.wire())
        self._candles(changes)
        self._tickers(changes)
        self._curves(changes)

    def publish_item(self, ch: str, seq: int, ts_ms: int, item: dict) -> None:
        """Send one public fact of listings or delivery, in its own sequence."""
        stream = Stream(ch, "*")
        data = RelayUpdate(ch=ch, seq=seq, item=item).wire()
        if ch == "delivery":
            self._feed.keep_and_send(stream, seq, ts_ms, data)
        else:
            self._feed.send(stream, seq, data)

    def _books(self, changes: Changes) -> Iterator[Kept]:
        for change in changes.books:
            sym = change.contract.contract
            yield (
                Stream("book", sym),
                BookDelta(
                    sym=sym,
                    prev_seq=change.prev_seq,
                    seq=changes.seq,
                    bids=levels(change.bids),
                    asks=levels(change.asks),
                    crc=change.contract.book.checksum(),
                    doubted_since=self._market.doubted.get(sym),
                ),
            )

    def _trades(self, changes: Changes) -> Iterator[Kept]:
        for trade in changes.trades:
            row = rows.trade_row(trade)
            for sym in (trade.contract, self._market.contracts[trade.contract].product):
                yield Stream("trades", sym), TradeUpdate(sym=sym, seq=trade.seq, trade=row)

    def _candles(self, changes: Changes) -> None:
        for candle in changes.candles.values():
            stream = Stream("candles", candle.sym, candle.interval)
            if self._feed.followed(stream):
                row = rows.candle_row(candle)
                update = CandleUpdate(sym=candle.sym, interval=candle.interval, seq=changes.seq, candle=row)
                self._feed.send(stream, changes.seq, update.wire())

    def _tickers(self, changes: Changes) -> None:
        for sym, view in changes.quotes.items():
            stream = Stream("ticker", sym)
            if self._feed.followed(stream):
                update = TickerSnapshot(
                    sym=sym, seq=changes.seq, type="update", ticker=rows.ticker_row(view, self._market.doubted)
                )
                self._feed.send(stream, changes.seq, update.wire())

    def _curves(self, changes: Changes) -> None:
        moved: dict[str, list[ContractView]] = {}
        for view in (*changes.listed, *changes.quotes.values()):
            moved.setdefault(view.product, []).append(view)
        for product, views in moved.items():
            stream = Stream("curve", product)
            if self._feed.followed(stream):
                points = tuple(rows.curve_point(view, self._market.doubted) for view in views)
                update = CurveUpdate(sym=product, seq=changes.seq, points=points)
                self._feed.send(stream, changes.seq, update.wire())

    def _indexes(self, changes: Changes) -> Iterator[Kept]:
        for event in changes.indexes:
            product = product_of(event.contract)
            yield Stream("index", product), IndexUpdate(sym=product, seq=event.seq, value=rows.index_row(event))

    def _auctions(self, changes: Changes) -> Iterator[Kept]:
        for event in changes.auctions:
            product = product_of(event.contract)
            update = AuctionUpdate(sym=product, seq=event.seq, auction=rows.auction_row(event))
            yield Stream("auction", product), update

    def _statuses(self, changes: Changes) -> Iterator[Kept]:
        for event in changes.statuses:
            row = rows.status_row(event)
            for sym in (row.product, "*"):
                yield Stream("status", sym), StatusUpdate(sym=sym, seq=event.seq, status=row)
