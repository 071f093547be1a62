"""What the play says: a line a minute of what happened, from what the exchange itself publishes."""

import time
from collections import Counter
from collections.abc import Callable

import httpx

from console.play.accidents import Accident
from console.play.desk import Market, seconds_since

SETTLED = 'hourbook_delivery_metered_gpu_seconds_total{kind="delivered"}'
TRADES_MAX = 500
WORDS = {"gpu_lost": "{site} loses GPU {gpu}", "node_gone": "{site} loses power for {lasts_s} s"}


class Teller:
    """Gathers what happened since the last line."""

    def __init__(self, market: Market, delivery_url: str, tally: Counter[str], say: Callable[[str], None]) -> None:
        self._market, self._metrics_url, self._say = market, f"{delivery_url}/metrics", say
        self.tally = tally
        self._told, self._settled_gpu_s = Counter(tally), 0.0
        self._accidents: list[str] = []
        self._at = time.time()

    def note(self, accident: Accident) -> None:
        """Takes down an accident for the next line."""
        self._accidents.append(WORDS[accident.kind].format(**vars(accident)))

    async def print_figures(self, share: float) -> None:
        """Says the minute that has passed; `share` is the part of one core that the play took."""
        rows = (await self._market.read("/v1/trades", limit=TRADES_MAX))["items"]
        passed_s, self._at = time.time() - self._at, time.time()
        trades = sum(seconds_since(row["time"]) <= passed_s for row in rows)
        settled = await self._settled()
        since, self._told = self.tally - self._told, Counter(self.tally)
        accidents = "; ".join(self._accidents) or "no accident"
        self._accidents.clear()
        self._say(
            f"{time.strftime('%H:%M:%S', time.gmtime())}  {trades} trades, {since['orders']} orders, "
            f"{(settled - self._settled_gpu_s) / 3600:.2f} GPU-hours delivered and settled, "
            f"{self.tally['hardware sold']} GPUs sold so far; {accidents}; {100 * share:.0f} % of a core"
        )
        self._settled_gpu_s = settled

    async def _settled(self) -> float:
        async with httpx.AsyncClient() as http:
            text = (await http.get(self._metrics_url)).text
        found = [line.rpartition(" ")[2] for line in text.splitlines() if line.startswith(SETTLED)]
        return float(found[0]) if found else 0.0
