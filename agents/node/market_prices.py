"""What others pay and ask: a product's last index, and the best ask of other accounts in each coming period."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from agents.node.client import GatewayClient
from agents.node.errors import VenueRefused, VenueUnreachable
from agents.node.market import readable
from agents.node.notices import Notices
from agents.node.price_rules import PriceRule
from agents.node.pricing import Market
from schemas.ids import contract_start_s
from schemas.money import parse_micros

STALE_LOOKS = 10
BOOKS_MAX = 8
LEVELS = 20


@dataclass(frozen=True)
class _Book:
    """A look at one contract's book: its best ask then, and the best one that is not the account's own."""

    at: float
    best: tuple[str, int | None]
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

    async def look(self, product: str, rule: PriceRule, starts: range) -> Market:
        """Returns what the rules of a price go by."""
        if not rule.reads_market:
            return Market()
        seen, now = self._seen.setdefault(product, _Seen()), time.monotonic()
        if now - seen.at < rule.pace.look_s:
            return seen.market
        try:
            index = await self._index(product) if rule.index else None
            best = await self._best_of_others(product, seen, starts, rule.pace.look_s) if rule.undercut else {}
        except (VenueRefused, VenueUnreachable) as error:
            self.notices.say(product, f"the market of {product} cannot be read, prices stay: {error}")
            return seen.market if now - seen.at < STALE_LOOKS * rule.pace.look_s else Market()
        self.notices.clear(product)
        seen.at, seen.market = now, Market(index, best)
        return seen.market

    async def _index(self, product: str) -> int | None:
        """Returns the latest index, None where there is none or it is flagged stale."""
        path = f"/v1/index?product={quote(product)}&limit=1"
        page = await self._gateway.read_market(path)
        with readable(path):
            latest = page["items"][0] if page["items"] else None
            return None if latest is None or latest["stale"] else parse_micros(latest["index"])

    async def _best_of_others(self, product: str, seen: _Seen, starts: range, look_s: int) -> Mapping[int, int]:
        """Returns the best ask of other accounts by period; one whose book has not been looked at is left out.

        A book is looked at when its best ask has changed, and after ten looks at the rest: what stands behind an ask of
        the account's own may go unseen.
        """
        now = time.monotonic()
        path = f"/v1/curve/{quote(product)}"
        curve = await self._gateway.read_market(path)
        with readable(path):
            asked = {
                point["contract"]: (point["ask"], point.get("ask_qty"))
                for point in curve["points"]
                if point.get("ask") is not None and contract_start_s(point["contract"]) in starts
            }
        seen.books = {contract: book for contract, book in seen.books.items() if contract in asked}
        due_at = now - STALE_LOOKS * look_s
        fresh = {contract for contract, book in seen.books.items() if book.best == asked[contract] and book.at > due_at}
        for contract in sorted(asked.keys() - fresh, key=contract_start_s)[:BOOKS_MAX]:
            seen.books[contract] = _Book(now, asked[contract], await self._best_other(contract))
        known = {contract_start_s(contract): book.other for contract, book in seen.books.items()}
        return {start_s: other for start_s, other in known.items() if other is not None}

    async def _best_other(self, contract: str) -> int | None:
        """Returns the best ask in a book that is not the account's own."""
        path = f"/v1/book/{quote(contract)}?depth={LEVELS}"
        book = await self._gateway.read_market(path)
        own = await self._gateway.call("GET", "/v1/capacity/levels", query=f"contract={quote(contract)}")
        with readable(path):
            return best_other(_levels(book["asks"]), _levels((each["price"], each["qty"]) for each in own["asks"]))


def best_other(asks: Mapping[int, int], own: Mapping[int, int]) -> int | None:
    """Returns the lowest price at which more stands than is the account's own."""
    return min((price for price, qty in asks.items() if qty > own.get(price, 0)), default=None)


def _levels(levels: Iterable) -> dict[int, int]:
    return {parse_micros(price): int(qty) for price, qty in levels}
