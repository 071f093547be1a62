"""Candles: prices of a contract, and of a product over all its contracts, by spans of log time."""

import heapq
from collections import deque
from dataclasses import dataclass

INTERVALS_S = {"1m": 60, "5m": 300, "15m": 900, "1h": 3600, "4h": 14_400, "1d": 86_400}
RECENT_CANDLES = 96


@dataclass(slots=True)
class Candle:
    """One span of one symbol. `final` as soon as log time has passed its end; `turnover` is price times GPUs. [F-13]"""

    sym: str
    interval: str
    start_ms: int
    end_ms: int
    open_micros: int
    high_micros: int
    low_micros: int
    close_micros: int
    qty: int = 0
    turnover: int = 0
    trades: int = 0
    seq: int = 0
    final: bool = False

    def add(self, price_micros: int, qty: int, seq: int) -> None:
        self.high_micros = max(self.high_micros, price_micros)
        self.low_micros = min(self.low_micros, price_micros)
        self.close_micros = price_micros
        self.qty += qty
        self.turnover += price_micros * qty
        self.trades += 1
        self.seq = seq


def intervals_for(period_s: int) -> dict[str, int]:
    """Return the intervals of a contract: the usual ones, and in a sandbox its own short period too. [F-14]"""
    return INTERVALS_S if period_s >= 60 else {f"{period_s}s": period_s, **INTERVALS_S}


class Candles:
    """All running candles, and the last ones that ended, per (symbol, interval)."""

    __slots__ = ("_ends", "recent", "running")

    def __init__(self) -> None:
        self.running: dict[tuple[str, str], Candle] = {}
        self.recent: dict[tuple[str, str], deque[Candle]] = {}
        self._ends: list[tuple[int, str, str]] = []

    def advance(self, log_ms: int) -> list[Candle]:
        """Make every candle final whose end log time has reached, and return them by their ends. [F-15]"""
        ended = []
        while self._ends and self._ends[0][0] <= log_ms:
            _, sym, interval = heapq.heappop(self._ends)
            candle = self.running.pop((sym, interval), None)
            if candle is not None:
                candle.final = True
                self.recent.setdefault((sym, interval), deque(maxlen=RECENT_CANDLES)).append(candle)
                ended.append(candle)
        return ended

    def add(self, sym: str, period_s: int, ts_ms: int, price_micros: int, qty: int, seq: int) -> list[Candle]:
        """Count one trade into every interval of a symbol and return the candles touched."""
        return [
            self._add(sym, interval, span_s * 1000, ts_ms, price_micros, qty, seq)
            for interval, span_s in intervals_for(period_s).items()
        ]

    def series(self, sym: str, interval: str) -> list[Candle]:
        """Return the candles that memory has of a symbol, oldest first, the running one last."""
        running = self.running.get((sym, interval))
        return [*self.recent.get((sym, interval), ()), *([running] if running else [])]

    def forget(self, sym: str) -> None:
        """Drop a symbol that will not trade again; its history stays in the store."""
        for key in [key for key in self.recent if key[0] == sym]:
            del self.recent[key]

    def _add(self, sym: str, interval: str, span_ms: int, ts_ms: int, price_micros: int, qty: int, seq: int) -> Candle:
        candle = self.running.get((sym, interval))
        if candle is None:
            start_ms = ts_ms - ts_ms % span_ms
            prices = (price_micros,) * 4
            candle = Candle(sym, interval, start_ms, start_ms + span_ms, *prices)
            self.running[sym, interval] = candle
            heapq.heappush(self._ends, (candle.end_ms, sym, interval))
        candle.add(price_micros, qty, seq)
        return candle
