"""REST for readers: products, contracts, books, trades, candles, tickers, curves, the index; all of it public."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Query, Response

from schemas.events import ContractState
from schemas.ids import Contract, Product, contract_start_s
from schemas.market_data import (
    AuctionList,
    BookSnapshot,
    CandlePage,
    ContractPage,
    Curve,
    IndexPage,
    Interval,
    ProductList,
    PublicModel,
    TickerList,
    TradePage,
)
from services.kit.auth import public
from services.kit.cursors import read_cursor, write_cursor
from services.kit.http import ProblemError
from services.kit.inputs import read_number
from services.kit.rows import show_rows
from services.kit.store import DatabaseAway, Pool
from services.market_data import rows, store
from services.market_data.candles import intervals_for
from services.market_data.contracts import ContractView, ProductView
from services.market_data.domain import Market
from services.market_data.history import HistoryBehind, Stored
from services.market_data.settings import Settings

SEQ_MAX = 2**63 - 1

Limit = Annotated[int, Query(ge=1)]
Cursor = Annotated[str | None, Query(max_length=19, description="As the last page gave it.")]
Place = Annotated[str | None, Query(max_length=128, description="As the last page gave it.")]


@dataclass(frozen=True)
class Views:
    """What the routes read."""

    settings: Settings
    pool: Pool
    market: Market
    stored: Stored

    def product(self, product: str) -> ProductView:
        if product not in self.market.products:
            raise ProblemError("not_found", f"no product {product}")
        return self.market.products[product]

    def contract(self, contract: str) -> ContractView:
        if contract not in self.market.contracts:
            raise ProblemError("not_found", f"no contract {contract}, or it ended a while ago")
        return self.market.contracts[contract]

    async def history(self, read: Callable[..., Awaitable[list]], *arguments: Any) -> tuple[list, int]:
        """Read tables when they have everything that the feed has shown so far; return rows and that sequence."""
        seq = self.market.seq
        try:
            await self.stored.reach(seq)
            return await read(self.pool, *arguments), seq
        except (HistoryBehind, DatabaseAway) as error:
            raise ProblemError("unavailable", str(error), retryable=True, headers={"Retry-After": "1"}) from error

    def rows(self, limit: int) -> int:
        return min(limit, self.settings.market_data_page_rows_max)


def add_routes(app: FastAPI, views: Views) -> None:
    """Add the REST routes."""
    router = APIRouter()
    _add_reference(router, views)
    _add_books(router, views)
    _add_history(router, views)
    app.include_router(router)


def answer(model: PublicModel) -> Response:
    """Return a model as JSON, without members that would be null."""
    return Response(model.wire(), media_type="application/json")


def _add_reference(router: APIRouter, views: Views) -> None:
    market = views.market

    @router.get("/v1/products", response_model=ProductList)
    @public
    async def products() -> Response:
        """Every product, its terms and its trading state."""
        items = show_rows((view for _, view in sorted(market.products.items())), rows.product_row)
        return answer(ProductList(items=items, seq=market.seq))

    @router.get("/v1/contracts", response_model=ContractPage)
    @public
    async def contracts(
        product: Product | None = None, state: ContractState | None = None, limit: Limit = 500, cursor: Place = None
    ) -> Response:
        """Contracts that are listed or ended lately, by name; `cursor` goes on behind the last one of a page."""
        found = views.product(product).contracts.values() if product else market.contracts.values()
        after = ("", 0) if cursor is None else read_cursor(cursor, str, int)
        chosen = sorted((c for c in found if state in (None, c.state) and _place_of(c) > after), key=_place_of)
        page = chosen[: views.rows(limit)]
        following = write_cursor(*_place_of(page[-1])) if len(page) < len(chosen) else None
        items = show_rows(page, rows.contract_row)
        return answer(ContractPage(items=items, cursor=following, seq=market.seq))


def _add_books(router: APIRouter, views: Views) -> None:
    market = views.market

    @router.get("/v1/book/{contract}", response_model=BookSnapshot)
    @public
    async def book(contract: Contract, depth: Annotated[int, Query(ge=1, le=10_000)] = 10_000) -> Response:
        """A contract's book, best level first, with the checksum of its ten best levels."""
        found = views.contract(contract).book
        bids, asks = rows.levels(found.bids.levels(depth)), rows.levels(found.asks.levels(depth))
        head = {"sym": contract, "seq": found.seq, "doubted_since": market.doubted.get(contract)}
        return answer(BookSnapshot(**head, bids=bids, asks=asks, crc=found.checksum()))

    @router.get("/v1/ticker", response_model=TickerList)
    @public
    async def ticker(sym: Contract | Product) -> Response:
        """Best prices and trades so far of one contract, or of a product's open contracts."""
        found = views.product(sym).listed() if sym in market.products else [views.contract(sym)]
        return answer(
            TickerList(items=show_rows(found, partial(rows.ticker_row, doubted=market.doubted)), seq=market.seq)
        )

    @router.get("/v1/auctions", response_model=AuctionList)
    @public
    async def auctions(product: Product) -> Response:
        """What a product's auctions would come to now, and how the last ones ended."""
        indicated, results = rows.auction_rows(views.product(product))
        return answer(AuctionList(product=product, indicated=indicated, results=results, seq=market.seq))

    @router.get("/v1/curve/{product}", response_model=Curve)
    @public
    async def curve(product: Product, periods: Annotated[int, Query(ge=1, le=10_000)] = 10_000) -> Response:
        """Best bid, best ask and last price of the next periods of a product; `periods=48` is the hour strip."""
        view = views.product(product)
        points = show_rows(view.listed()[:periods], partial(rows.curve_point, doubted=market.doubted))
        return answer(Curve(product=product, currency=view.terms.currency, points=points, seq=market.seq))


def _add_history(router: APIRouter, views: Views) -> None:
    market = views.market

    @router.get("/v1/trades", response_model=TradePage)
    @public
    async def trades(sym: Contract | Product | None = None, limit: Limit = 100, cursor: Cursor = None) -> Response:
        """Trades, newest first: of a contract, of a product, or all."""
        count = views.rows(limit)
        found, seq = await views.history(store.trades, sym, _number(cursor, SEQ_MAX), count)
        following = str(found[-1].seq) if len(found) == count else None
        return answer(TradePage(items=show_rows(found, rows.trade_row), cursor=following, seq=seq))

    @router.get("/v1/candles", response_model=CandlePage)
    @public
    async def candles(
        sym: Contract | Product,
        interval: Interval = "1m",
        from_: Annotated[datetime | None, Query(alias="from")] = None,
        to: datetime | None = None,
        limit: Limit = 500,
    ) -> Response:
        """Candles of a contract or a product, newest first, empty ones left out."""
        period_s = market.period_of(sym)
        if period_s is not None and interval not in intervals_for(period_s):
            raise ProblemError("malformed_request", f"intervals are {', '.join(intervals_for(period_s))}")
        span = (_milliseconds(from_, 0), _milliseconds(to, SEQ_MAX))
        found, seq = await views.history(store.candles, sym, interval, *span, views.rows(limit), market.log_ms)
        return answer(CandlePage(sym=sym, items=show_rows(found, rows.candle_row), seq=seq))

    @router.get("/v1/index", response_model=IndexPage)
    @public
    async def index(product: Product, limit: Limit = 48, cursor: Cursor = None) -> Response:
        """Values of a product's index by delivery period, latest first, with method and inputs' digest."""
        count = views.rows(limit)
        found, seq = await views.history(store.indexes, product, _number(cursor, SEQ_MAX), count)
        following = str(contract_start_s(found[-1].contract) * 1000) if len(found) == count else None
        return answer(IndexPage(items=show_rows(found, rows.index_row), cursor=following, seq=seq))


def _place_of(contract: ContractView) -> tuple[str, int]:
    return contract.product, contract.start_s


def _number(cursor: str | None, otherwise: int) -> int:
    number = otherwise if cursor is None else read_number(cursor)
    if number is None:
        raise ProblemError("malformed_request", "cursor: not one of ours")
    return number


def _milliseconds(moment: datetime | None, otherwise: int) -> int:
    if moment is None:
        return otherwise
    if moment.tzinfo is None:
        raise ProblemError("malformed_request", "times need a zone, such as Z")
    return int(moment.timestamp()) * 1000 + moment.microsecond // 1000
