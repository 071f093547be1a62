"""Candles: spans of log time, final as soon as it has passed them."""

from services.market_data.candles import Candle, Candles, intervals_for

MINUTE_MS = 60_000


def test_trades_of_one_minute_make_one_candle():
    """Holds [F-13]"""
    candles = Candles()
    for price, qty in ((10, 1), (14, 2), (8, 3), (11, 1)):
        candles.add("SYM", 3600, 30_000, price, qty, seq=price)
    assert candles.series("SYM", "1m") == [
        Candle("SYM", "1m", 0, MINUTE_MS, 10, 14, 8, 11, qty=7, turnover=10 + 28 + 24 + 11, trades=4, seq=11)
    ]


def test_a_candle_is_final_when_log_time_reaches_its_end():
    """Holds [F-15]"""
    candles = Candles()
    candles.add("SYM", 3600, 30_000, 10, 1, seq=1)
    assert candles.advance(MINUTE_MS - 1) == []
    (ended,) = candles.advance(MINUTE_MS)
    assert (ended.interval, ended.final) == ("1m", True)
    candles.add("SYM", 3600, MINUTE_MS, 12, 1, seq=2)
    assert [(c.start_ms, c.final) for c in candles.series("SYM", "1m")] == [(0, True), (MINUTE_MS, False)]


def test_empty_spans_are_left_out():
    """Holds [F-14]"""
    candles = Candles()
    for ts_ms in (0, 10 * MINUTE_MS):
        candles.advance(ts_ms)
        candles.add("SYM", 3600, ts_ms, 10, 1, seq=1)
    assert [c.start_ms for c in candles.series("SYM", "1m")] == [0, 10 * MINUTE_MS]


def test_a_sandbox_has_candles_of_its_own_period_too():
    assert list(intervals_for(20)) == ["20s", "1m", "5m", "15m", "1h", "4h", "1d"]
    assert list(intervals_for(3600)) == ["1m", "5m", "15m", "1h", "4h", "1d"]
