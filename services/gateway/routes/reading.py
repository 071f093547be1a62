"""Reading: the caller's own orders, fills, positions and balances; lists newest first, page by page."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query

from schemas.ids import Contract, NodeId, Product
from schemas.measures import OrderId
from schemas.money import format_micros
from schemas.orders import Side
from schemas.replies import (
    AccountLimitsView,
    AskLevelsView,
    BalanceView,
    FillView,
    OrderStatus,
    OrderView,
    OwnLevel,
    Page,
    PositionState,
    PositionView,
    ProtectionView,
    RefusedView,
)
from services.gateway.commands.repeats import find_named
from services.gateway.context import Desk
from services.gateway.domain import HistoryBehind
from services.gateway.projections import views
from services.gateway.projections.records import Order, Refusal, Replacement
from services.kit.auth import Caller
from services.kit.http import ProblemError
from services.kit.inputs import read_number
from services.kit.rows import show_rows
from services.kit.store import DatabaseAway

SEQ_MAX = 2**63 - 1
Cursor = Annotated[str | None, Query(max_length=64, description="As the last page gave it.")]
Limit = Annotated[int | None, Query(ge=1, le=10_000, description="Items on a page; the venue's maximum caps it.")]

ChangedAfter = Annotated[int | None, Query(ge=0, le=SEQ_MAX, description="The `seq` of a page of this node.")]


@dataclass(frozen=True)
class PageQuery:
    """Which page: after which item, how many."""

    cursor: Cursor = None
    limit: Limit = None


class Reading:
    """Reads what the tables hold, and waits for them where the caller may have seen more in an acknowledgement."""

    def __init__(self, desk: Desk):
        self._desk = desk

    async def order(self, account: str, order_id: int) -> OrderView:
        """Finds one order of the account."""
        order = self._desk.history.orders.get(order_id)
        if order is None:
            order = await self._tables(lambda: self._desk.store.order(account, order_id))
        if order is None or order.account != account:
            raise ProblemError("not_found", "the account has no such order")
        return self._desk.views.order(order)

    async def order_by_client_id(self, account: str, client_order_id: str) -> OrderView | RefusedView:
        """Finds what became of an order that the client named."""
        found = self._desk.history.order_of_client(account, client_order_id)
        if not isinstance(found, Order):
            found = await self._tables(lambda: find_named(self._desk, account, client_order_id))
        if found is None:
            raise ProblemError("not_found", "the account has no such order")
        if isinstance(found, Replacement):
            return await self.order(account, found.order_id)
        return views.refused(found) if isinstance(found, Refusal) else self._desk.views.order(found)

    async def page(self, read: Callable, show: Callable, caller: Caller, query: PageQuery, **filters: Any) -> Page:
        """Reads one page with `Store` method `read`, and shows its items."""
        settings = self._desk.settings
        limit = min(query.limit or settings.page_size, settings.page_size_max)
        before_seq, seq = _seq_of(query.cursor), self._desk.history.seq
        records = await self._tables(lambda: read(caller.account, before_seq, limit + 1, filters), seq)
        more = len(records) > limit
        return page_of(records[:limit], show, seq, _cursor_of(records[limit - 1].seq) if more else None)

    async def ask_levels(self, account: str, product: str) -> AskLevelsView:
        """Returns the account's own part of the asks in a product's books, the best price of each first."""
        seq = self._desk.history.seq
        levels = await self._tables(lambda: self._desk.store.ask_levels(account, product), seq)
        asks = tuple(OwnLevel(contract=name, price=format_micros(micros), qty=qty) for name, micros, qty in levels)
        return AskLevelsView(product=product, asks=asks, seq=seq)

    def is_unchanged(self, operator: str, node: str | None, changed_after: int | None) -> bool:
        """Tells whether nothing of an operator's node has changed since an event that the caller has seen."""
        if node is None or changed_after is None or changed_after > self._desk.history.seq:
            return False
        return self._desk.history.node_seq(operator, node) <= changed_after

    async def _tables(self, read: Callable[[], Awaitable], seq: int | None = None) -> Any:
        try:
            await self._desk.recorder.reach(self._desk.history.seq if seq is None else seq)
            return await read()
        except (HistoryBehind, DatabaseAway) as error:
            raise ProblemError("unavailable", f"{error}", retryable=True, headers={"Retry-After": "1"}) from error


def make_router(desk: Desk) -> APIRouter:
    """Returns the routes; every one needs the scope `read`."""
    router, reading = APIRouter(tags=["reads"]), Reading(desk)
    Reader = Annotated[Caller, Depends(desk.caller("read"))]
    Paging = Annotated[PageQuery, Depends()]

    @router.get("/v1/orders")
    async def list_orders(
        caller: Reader,
        query: Paging,
        status: OrderStatus | Literal["open"] | None = None,
        contract: Contract | None = None,
        product: Product | None = None,
        side: Side | None = None,
        parent_id: OrderId | None = None,
        node: NodeId | None = None,
        changed_after: ChangedAfter = None,
    ) -> Page[OrderView]:
        """The caller's orders; the asks of a capacity order with its id as `parent_id`, a node's with its id as `node`.

        With `node` and `changed_after`, the `seq` of a page read before, an empty page with that same `seq` says that
        nothing of the node's orders and positions has changed since.
        """
        if reading.is_unchanged(caller.account, node, changed_after):
            return Page(items=(), cursor=None, seq=changed_after)
        filters = {"status": status, "contract": contract, "product": product, "side": side, "parent_id": parent_id}
        filters["node"] = node
        return await reading.page(desk.store.orders, desk.views.order, caller, query, **filters)

    @router.get("/v1/orders/by-client-id/{client_order_id:path}")
    async def show_order_of_client(caller: Reader, client_order_id: str) -> OrderView | RefusedView:
        """What became of an order that the client named."""
        return await reading.order_by_client_id(caller.account, client_order_id)

    @router.get("/v1/orders/{order_id}")
    async def show_order(caller: Reader, order_id: OrderId) -> OrderView:
        """One order as it stands."""
        return await reading.order(caller.account, order_id)

    @router.get("/v1/capacity/levels")
    async def list_own_asks(caller: Reader, product: Product) -> AskLevelsView:
        """What of the asks in a product's books is the caller's, summed by price, from all of his nodes and orders."""
        return await reading.ask_levels(caller.account, product)

    @router.get("/v1/fills")
    async def list_fills(
        caller: Reader, query: Paging, contract: Contract | None = None, order_id: OrderId | None = None
    ) -> Page[FillView]:
        """The trades in which the caller has part."""

        def show(fill):
            return desk.views.fill(fill, caller.account)

        return await reading.page(desk.store.fills, show, caller, query, contract=contract, order_id=order_id)

    @router.get("/v1/positions")
    async def list_positions(
        caller: Reader,
        query: Paging,
        contract: Contract | None = None,
        state: PositionState | None = None,
        role: Literal["buyer", "operator"] | None = None,
        node: NodeId | None = None,
        changed_after: ChangedAfter = None,
    ) -> Page[PositionView]:
        """The caller's positions, bought and served: contracted, delivered, paid, refunded.

        With `role=operator`, `node` and `changed_after` an unchanged node gives an empty page, as for orders.
        """
        if role == "operator" and reading.is_unchanged(caller.account, node, changed_after):
            return Page(items=(), cursor=None, seq=changed_after)

        def show(position):
            return desk.views.position(position, caller.account)

        filters = {"contract": contract, "state": state, "role": role, "node": node}
        return await reading.page(desk.store.positions, show, caller, query, **filters)

    @router.get("/v1/balances")
    async def list_balances(caller: Reader) -> Page[BalanceView]:
        """What the caller has, available and held, per asset."""
        return page_of(desk.history.balances_of(caller.account), desk.views.balance, desk.history.seq)

    @router.get("/v1/limits")
    async def show_limits(caller: Reader) -> AccountLimitsView:
        """What the venue lets the caller do at most."""
        rule = desk.history.rules.get((caller.account, ""))
        return AccountLimitsView(**rule.terms if rule else {}, seq=rule.seq if rule else desk.history.seq)

    @router.get("/v1/protection")
    async def list_protections(caller: Reader) -> Page[ProtectionView]:
        """The caller's own protections, by product."""
        standing = [rule for rule in desk.history.rules_of(caller.account) if rule.terms["qty"]]

        def show(rule):
            return ProtectionView(product=rule.product, **rule.terms, seq=rule.seq)

        return page_of(standing, show, desk.history.seq)

    return router


def page_of(rows: Sequence, show: Callable, seq: int, cursor: str | None = None) -> Page:
    """Returns a page of rows; one that cannot be shown is left out, and counted."""
    items = show_rows(rows, show)
    return Page(items=items, cursor=cursor, seq=seq, left_out=len(rows) - len(items))


def _cursor_of(seq: int) -> str:
    return urlsafe_b64encode(f"seq:{seq}".encode()).decode().rstrip("=")


def _seq_of(cursor: str | None) -> int:
    if cursor is None:
        return SEQ_MAX
    try:
        name, _, digits = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().partition(":")
        seq = read_number(digits) if name == "seq" else None
    except ValueError as error:
        raise ProblemError("malformed_request", "no such cursor") from error
    if not seq:
        raise ProblemError("malformed_request", "no such cursor")
    return seq
