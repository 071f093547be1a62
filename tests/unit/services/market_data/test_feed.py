"""The ring of the last minutes, and readers who are fast, slow or come back."""

import json

import pytest

from schemas.market_data import FeedRequest
from services.market_data.domain import Market
from services.market_data.feed import Feed, Ring, Stream
from services.market_data.publishing import Publishing
from services.market_data.readers import Reader, SlowReader, TooManyStreams
from services.market_data.relays import Relays
from services.market_data.snapshots import Snapshots, UnknownInterval, UnknownSymbol
from tests.fixtures.event_log import BEFORE_MS, CONTRACT, PRODUCT, EventLog, accepted, gone, traded

BOOK = Stream("book", CONTRACT)
P = 12_840_000


class Venue:
    """A market with a feed, driven by a test's own log."""

    def __init__(self, span_ms=300_000, messages_max=1_000):
        self.log, self.market = EventLog(), Market()
        self.feed = Feed(Ring(span_ms, messages_max))
        self.snapshots = Snapshots(self.market, Relays())
        self.publishing = Publishing(self.market, self.feed)
        self.log.open_market()
        self.taken = 0
        self.advance()

    def advance(self):
        for command in self.log.commands[self.taken :]:
            self.publishing.publish(self.market.apply(command))
        self.taken = len(self.log.commands)

    def bid(self, order_id, ts_ms=None):
        self.log.command(accepted(order_id, "buy", 1, P - 10_000 * order_id), ts_ms=ts_ms)
        self.advance()

    def reader(self, messages_max=100, streams_max=10):
        return Reader(self.feed, self.snapshots, messages_max, streams_max)


def subscribe(**fields):
    return FeedRequest.model_validate({"op": "subscribe", "ch": "book", "syms": (CONTRACT,)} | fields)


async def take(reader):
    seq, data = await reader.take()
    return seq, json.loads(data)


def test_a_ring_gives_what_came_after_a_sequence():
    ring = Ring(span_ms=1000, messages_max=10)
    for seq in (1, 2, 3):
        ring.put(BOOK, seq, 0, b"%d" % seq)
    assert ring.after(BOOK, 1) == [(2, b"2"), (3, b"3")]
    assert ring.after(BOOK, 3) == []
    assert ring.after(BOOK, 0) == [(1, b"1"), (2, b"2"), (3, b"3")]


def test_a_ring_says_when_something_is_no_longer_there():
    ring = Ring(span_ms=1000, messages_max=10)
    ring.put(BOOK, 1, 0, b"1")
    ring.put(BOOK, 2, 2_000, b"2")
    assert ring.after(BOOK, 0) is None
    assert ring.after(BOOK, 1) == [(2, b"2")]


def test_a_ring_holds_no_more_messages_than_it_may():
    ring = Ring(span_ms=10**9, messages_max=3)
    for seq in range(1, 8):
        ring.put(BOOK, seq, 0, b"")
    assert (ring.after(BOOK, 3), len(ring.after(BOOK, 4))) == (None, 3)


def test_a_ring_knows_nothing_from_before_its_start():
    ring = Ring(span_ms=1000, messages_max=10)
    ring.start(50)
    assert (ring.after(BOOK, 49), ring.after(BOOK, 50)) == (None, [])


async def test_a_reader_gets_the_snapshot_then_what_follows():
    venue = Venue()
    reader = venue.reader()
    reader.apply(subscribe())
    venue.bid(1)
    first, second = await take(reader), await take(reader)
    assert (first[1]["type"], second[1]["type"], second[1]["prev_seq"]) == ("snapshot", "delta", first[0])


async def test_resuming_and_a_snapshot_tell_the_same_book():
    venue = Venue()
    venue.bid(1)
    seq = venue.market.seq
    venue.bid(2)
    reader = venue.reader()
    reader.apply(subscribe(from_seq=seq))
    venue.bid(3)
    messages = [await take(reader) for _ in range(2)]
    assert [(m["type"], m["prev_seq"], m["seq"]) for _, m in messages] == [
        ("delta", seq, seq + 1),
        ("delta", seq + 1, seq + 2),
    ]


async def test_a_reader_cut_off_between_two_trades_of_one_command_gets_the_second():
    venue = Venue()
    for maker in (1, 2):
        venue.log.command(accepted(maker, "sell", 1, P))
    trades = (traded(1, 3, 1, P, (0, 1)), traded(2, 3, 1, P, (0, 0)))
    first, second = venue.log.command(accepted(3, "buy", 2, P), *trades)[1:]
    reader = venue.reader()
    reader.apply(subscribe(ch="trades", syms=(PRODUCT,), from_seq=venue.market.seq))
    venue.advance()
    got = [await take(reader) for _ in range(2)]
    assert [(seq, m["trade"]["trade_id"]) for seq, m in got] == [(first.seq, 1003), (second.seq, 2003)]
    again = venue.reader()
    again.apply(subscribe(ch="trades", syms=(PRODUCT,), from_seq=first.seq))
    assert (await take(again))[1] == got[1][1]


async def test_a_reader_who_is_too_slow_is_told_the_last_sequence_he_took():
    """Holds [F-11]"""
    venue = Venue()
    reader = venue.reader(messages_max=3)
    reader.apply(subscribe())
    seq, _ = await take(reader)
    for order_id in range(1, 6):
        venue.bid(order_id)
    with pytest.raises(SlowReader) as slow:
        await take(reader)
    assert slow.value.args == (seq,)


async def test_a_conflated_reader_gets_one_snapshot_in_place_of_what_he_missed():
    venue = Venue()
    reader = venue.reader(messages_max=3)
    reader.apply(subscribe(conflate=True))
    await take(reader)
    for order_id in range(1, 6):
        venue.bid(order_id)
    seq, message = await take(reader)
    assert (message["type"], message["conflated"], seq) == ("snapshot", True, venue.market.seq)
    assert len(message["bids"]) == 5
    venue.bid(6)
    _, delta = await take(reader)
    assert (delta["type"], delta["prev_seq"]) == ("delta", seq)


async def test_leaving_a_stream_ends_its_messages():
    venue = Venue()
    reader = venue.reader()
    reader.apply(subscribe())
    await take(reader)
    reader.apply(subscribe(op="unsubscribe"))
    venue.bid(1)
    reader.apply(subscribe(ch="status", syms=("*",)))
    assert (await take(reader))[1]["ch"] == "status"


@pytest.mark.parametrize(
    "fields, error",
    [
        ({"syms": ("H100SXM80.CNE.F-20010101",)}, UnknownSymbol),
        ({"syms": ("*",)}, UnknownSymbol),
        ({"ch": "curve"}, UnknownSymbol),
        ({"ch": "index", "syms": (CONTRACT,)}, UnknownSymbol),
        ({"ch": "listings", "syms": (PRODUCT,)}, UnknownSymbol),
        ({"ch": "candles", "interval": "7m"}, UnknownInterval),
    ],
)
def test_a_request_for_what_does_not_exist_changes_nothing(fields, error):
    reader = Venue().reader()
    with pytest.raises(error):
        reader.apply(subscribe(**fields))
    assert reader.streams == {}


def test_a_reader_may_follow_only_so_many_streams():
    venue = Venue()
    reader = venue.reader(streams_max=2)
    names = tuple(view.contract for view in venue.market.products[PRODUCT].listed()[:3])
    with pytest.raises(TooManyStreams):
        reader.apply(subscribe(syms=names))
    assert reader.streams == {}
    reader.apply(subscribe(syms=names[:2]))
    assert reader.books() == list(names[:2])


async def test_no_message_names_an_account():
    """Holds [F-12]"""
    venue = Venue()
    reader = venue.reader()
    requests = [("book", CONTRACT), ("trades", CONTRACT), ("ticker", CONTRACT), ("curve", PRODUCT), ("status", "*")]
    for ch, sym in requests:
        reader.apply(subscribe(ch=ch, syms=(sym,)))
    venue.bid(1, ts_ms=BEFORE_MS + 1)
    texts = [(await reader.take())[1] for _ in range(8)]
    assert b"secret" not in b"".join(texts)


async def test_best_prices_of_a_book_in_doubt_carry_its_mark_in_tickers_and_curves():
    venue = Venue()
    watcher, late = venue.reader(), venue.reader()
    watcher.apply(subscribe(ch="ticker"))
    watcher.apply(subscribe(ch="curve", syms=(PRODUCT,)))

    async def marks(reader) -> list[int | None]:
        (_, first), (_, second) = [await take(reader) for _ in range(2)]
        (point,) = [each for each in second["points"] if each["contract"] == CONTRACT]
        return [first["ticker"].get("doubted_since"), point.get("doubted_since")]

    assert await marks(watcher) == [None, None]
    venue.bid(1)
    assert await marks(watcher) == [None, None]
    venue.log.command(gone("OrderCanceled", 7, "buy", 1, P))
    venue.advance()
    doubt = venue.market.doubted[CONTRACT]
    assert await marks(watcher) == [doubt, doubt]
    late.apply(subscribe(ch="ticker"))
    late.apply(subscribe(ch="curve", syms=(PRODUCT,)))
    assert await marks(late) == [doubt, doubt]


async def test_a_watcher_of_a_book_sees_that_it_is_in_doubt_at_once_and_whoever_comes_later_too():
    venue = Venue()
    watcher, late = venue.reader(), venue.reader()
    venue.bid(1)
    watcher.apply(subscribe())
    before, snapshot = await take(watcher)
    assert "doubted_since" not in snapshot
    venue.log.command(gone("OrderCanceled", 7, "buy", 1, P))
    venue.advance()
    doubt, delta = await take(watcher)
    assert delta == {
        **{"ch": "book", "sym": CONTRACT, "type": "delta", "prev_seq": before, "seq": doubt},
        **{"bids": [], "asks": [], "crc": snapshot["crc"], "doubted_since": doubt},
    }
    venue.bid(2)
    assert (await take(watcher))[1]["doubted_since"] == doubt
    late.apply(subscribe())
    assert (await take(late))[1]["doubted_since"] == doubt
