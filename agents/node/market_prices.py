"""What others pay and ask: a product's last index, and the best ask of other accounts in each coming period."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote as quoted

from agents.node.client import GatewayClient
from agents.node.errors import VenueRefused, VenueUnreachable
from agents.node.market import readable
from agents.node.notices import Notices
from agents.node.price_rules import PriceRule
from agents.node.pricing import Market, quote
from schemas.ids import contract_start_s
from schemas.money import parse_micros

STALE_LOOKS = 10
BOOKS_MAX = 8
LEVELS = 20


@dataclass(frozen=True)
class _Book:
    """When the best ask that is not the account's own was last known in one contract's book, and its price."""

    at: float
    other: int | None


@dataclass
class _Seen:
    """The last look at a product, and at the books of its contracts."""

    at: float = float("-inf")
    market: Market = field(default_factory=Market)
    books: dict[str, _Book] = field(default_factory=dict)


class MarketPrices:
    """Looks at the market as often as the policy's pace says, and at no more than eight books each time.

    A market that cannot be read leaves what was seen, and after ten looks in vain nothing: the policy's own prices.
    """

    def __init__(self, gateway: GatewayClient) -> None:
        self._gateway = gateway
        self._seen: dict[str, _Seen] = {}
        self.notices = Notices()

    async def look(self, product: str, rule: PriceRule, starts: range, tick_micros: int, now_s: int) -> Market:
        """Returns what the rules of a price go by."""
        if not rule.reads_market:
            return Market()
        seen, now = self._seen.setdefault(product, _Seen()), time.monotonic()
        if now - seen.at < rule.pace.look_s:
            return seen.market
        try:
            index = await self._index(product) if rule.index else None
            wished = {s: quote(s, now_s, rule, tick_micros, Market(index)).micros for s in starts}
            best = await self._best_of_others(product, seen, wished, rule.pace.look_s) if rule.undercut else {}
        except (VenueRefused, VenueUnreachable) as error:
            self.notices.say(product, f"the market of {product} cannot be read, prices stay: {error}")
            return seen.market if now - seen.at < STALE_LOOKS * rule.pace.look_s else Market()
        self.notices.clear(product)
        seen.at, seen.market = now, Market(index, best)
        return seen.market

    async def _index(self, product: str) -> int | None:
        """Returns the latest index, None where there is none or it is flagged stale."""
        path = f"/v1/index?product={quoted(product)}&limit=1"
        page = await self._gateway.read_market(path)
        with readable(path):
            latest = page["items"][0] if page["items"] else None
            return None if latest is None or latest["stale"] else parse_micros(latest["index"])

    async def _best_of_others(
        self, product: str, seen: _Seen, wished: Mapping[int, int], look_s: int
    ) -> Mapping[int, int]:
        """Returns the best ask of other accounts in the periods in which it may matter: below the price that is wished.

        Where more stands at the best price than the account's own, it is another's. Where it is all its own, what was
        seen before holds for ten looks; then, or where nothing was seen, the book says what stands behind.
        """
        now, path = time.monotonic(), f"/v1/curve/{quoted(product)}"
        curve = await self._gateway.read_market(path)
        own_path = "/v1/capacity/levels"
        own = await self._gateway.call("GET", own_path, query=f"product={quoted(product)}")
        with readable(f"{path} and {own_path}"):
            levels: dict[str, dict[int, int]] = {}
            for each in own["asks"]:
                levels.setdefault(each["contract"], {})[parse_micros(each["price"])] = int(each["qty"])
            asked = {
                point["contract"]: (parse_micros(point["ask"]), int(point["ask_qty"]))
                for point in curve["points"]
                if point.get("ask") is not None and contract_start_s(point["contract"]) in wished
            }
        asked = {name: best for name, best in asked.items() if best[0] <= wished[contract_start_s(name)]}
        seen.books = {contract: book for contract, book in seen.books.items() if contract in asked}
        hidden = []
        for contract, (price, qty) in asked.items():
            if qty > levels.get(contract, {}).get(price, 0):
                seen.books[contract] = _Book(now, price)
            elif contract not in seen.books or seen.books[contract].at <= now - STALE_LOOKS * look_s:
                hidden.append(contract)
        for contract in sorted(hidden, key=contract_start_s)[:BOOKS_MAX]:
            seen.books[contract] = _Book(now, await self._best_other(contract, levels.get(contract, {})))
        known = {contract_start_s(contract): book.other for contract, book in seen.books.items()}
        return {start_s: other for start_s, other in known.items() if other is not None}

    async def _best_other(self, contract: str, own: Mapping[int, int]) -> int | None:
        """Returns the best ask in a book that is not the account's own."""
        path = f"/v1/book/{quoted(contract)}?depth={LEVELS}"
        book = await self._gateway.read_market(path)
        with readable(path):
            return best_other({parse_micros(price): int(qty) for price, qty in book["asks"]}, own)


def best_other(asks: Mapping[int, int], own: Mapping[int, int]) -> int | None:
    """Returns the lowest price at which more stands than is the account's own."""
    return min((price for price, qty in asks.items() if qty > own.get(price, 0)), default=None)
