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
from services.gateway.context import GatewayContext
from services.gateway.domain import HistoryBehind
from services.gateway.projections.records import Order, RejectedOrder, Replacement
from services.gateway.projections.views import show_rejected
from services.gateway.routes.authorize import caller_with
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


Paging = Annotated[PageQuery, Depends()]


def make_router(gateway: GatewayContext) -> APIRouter:
    """Return the routes; every one needs the scope `read`."""
    router, reader = APIRouter(tags=["reads"]), caller_with(gateway, "read")
    _add_orders(router, gateway, reader)
    _add_trades(router, gateway, reader)
    _add_account(router, gateway, reader)
    return router


def _add_orders(router: APIRouter, gateway: GatewayContext, reader: Callable) -> None:
    Reader = Annotated[Caller, Depends(reader)]

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
        if _is_unchanged(gateway, caller.account, node, changed_after):
            return Page(items=(), cursor=None, seq=changed_after)
        filters = {"status": status, "contract": contract, "product": product, "side": side, "parent_id": parent_id}
        filters["node"] = node
        return await _page(gateway, gateway.store.orders, gateway.views.order, caller, query, **filters)

    @router.get("/v1/orders/by-client-id/{client_order_id:path}")
    async def show_order_of_client(caller: Reader, client_order_id: str) -> OrderView | RefusedView:
        """What became of an order that the client named."""
        return await _show_named(gateway, caller.account, client_order_id)

    @router.get("/v1/orders/{order_id}")
    async def show_order(caller: Reader, order_id: OrderId) -> OrderView:
        """One order as it stands."""
        return await _show_order(gateway, caller.account, order_id)

    @router.get("/v1/capacity/levels")
    async def list_own_asks(caller: Reader, product: Product) -> AskLevelsView:
        """What of the asks in a product's books is the caller's, summed by price, from all of his nodes and orders."""
        return await _ask_levels(gateway, caller.account, product)


def _add_trades(router: APIRouter, gateway: GatewayContext, reader: Callable) -> None:
    Reader = Annotated[Caller, Depends(reader)]

    @router.get("/v1/fills")
    async def list_fills(
        caller: Reader, query: Paging, contract: Contract | None = None, order_id: OrderId | None = None
    ) -> Page[FillView]:
        """The trades in which the caller has part."""

        def show(fill):
            return gateway.views.fill(fill, caller.account)

        return await _page(gateway, gateway.store.fills, show, caller, query, contract=contract, order_id=order_id)

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
        if role == "operator" and _is_unchanged(gateway, caller.account, node, changed_after):
            return Page(items=(), cursor=None, seq=changed_after)

        def show(position):
            return gateway.views.position(position, caller.account)

        filters = {"contract": contract, "state": state, "role": role, "node": node}
        return await _page(gateway, gateway.store.positions, show, caller, query, **filters)


def _add_account(router: APIRouter, gateway: GatewayContext, reader: Callable) -> None:
    Reader = Annotated[Caller, Depends(reader)]

    @router.get("/v1/balances")
    async def list_balances(caller: Reader) -> Page[BalanceView]:
        """What the caller has, available and held, per asset."""
        return page_of(gateway.history.balances_of(caller.account), gateway.views.balance, gateway.history.seq)

    @router.get("/v1/limits")
    async def show_limits(caller: Reader) -> AccountLimitsView:
        """What the venue lets the caller do at most."""
        rule = gateway.history.rules.get((caller.account, ""))
        return AccountLimitsView(**rule.terms if rule else {}, seq=rule.seq if rule else gateway.history.seq)

    @router.get("/v1/protection")
    async def list_protections(caller: Reader) -> Page[ProtectionView]:
        """The caller's own protections, by product."""
        standing = [rule for rule in gateway.history.rules_of(caller.account) if rule.terms["qty"]]

        def show(rule):
            return ProtectionView(product=rule.product, **rule.terms, seq=rule.seq)

        return page_of(standing, show, gateway.history.seq)


async def _show_order(gateway: GatewayContext, account: str, order_id: int) -> OrderView:
    """Find one order of the account."""
    order = gateway.history.orders.get(order_id)
    if order is None:
        order = await _from_tables(gateway, lambda: gateway.store.order(account, order_id))
    if order is None or order.account != account:
        raise ProblemError("not_found", "the account has no such order")
    return gateway.views.order(order)


async def _show_named(gateway: GatewayContext, account: str, client_order_id: str) -> OrderView | RefusedView:
    """Find what became of an order that the client named."""
    found = gateway.history.order_of_client(account, client_order_id)
    if not isinstance(found, Order):
        found = await _from_tables(gateway, lambda: find_named(gateway, account, client_order_id))
    if found is None:
        raise ProblemError("not_found", "the account has no such order")
    if isinstance(found, Replacement):
        return await _show_order(gateway, account, found.order_id)
    return show_rejected(found) if isinstance(found, RejectedOrder) else gateway.views.order(found)


async def _ask_levels(gateway: GatewayContext, account: str, product: str) -> AskLevelsView:
    """Return the account's own part of the asks in a product's books, the best price of each first."""
    seq = gateway.history.seq
    levels = await _from_tables(gateway, lambda: gateway.store.ask_levels(account, product), seq)
    asks = tuple(OwnLevel(contract=name, price=format_micros(micros), qty=qty) for name, micros, qty in levels)
    return AskLevelsView(product=product, asks=asks, seq=seq)


def _is_unchanged(gateway: GatewayContext, operator: str, node: str | None, changed_after: int | None) -> bool:
    """Tell whether nothing of an operator's node has changed since an event that the caller has seen."""
    if node is None or changed_after is None or changed_after > gateway.history.seq:
        return False
    return gateway.history.node_seq(operator, node) <= changed_after


async def _page(
    gateway: GatewayContext, read: Callable, show: Callable, caller: Caller, query: PageQuery, **filters: Any
) -> Page:
    """Read one page with a method of `Store`, and show its items."""
    settings = gateway.settings
    limit = min(query.limit or settings.page_size, settings.page_size_max)
    before_seq, seq = _seq_of(query.cursor), gateway.history.seq
    records = await _from_tables(gateway, lambda: read(caller.account, before_seq, limit + 1, filters), seq)
    more = len(records) > limit
    return page_of(records[:limit], show, seq, _cursor_of(records[limit - 1].seq) if more else None)


async def _from_tables(gateway: GatewayContext, read: Callable[[], Awaitable], seq: int | None = None) -> Any:
    """Read what the tables hold, and wait for them where the caller may have seen more in an acknowledgement."""
    try:
        await gateway.recorder.reach(gateway.history.seq if seq is None else seq)
        return await read()
    except (HistoryBehind, DatabaseAway) as error:
        raise ProblemError("unavailable", f"{error}", retryable=True, headers={"Retry-After": "1"}) from error


def page_of(rows: Sequence, show: Callable, seq: int, cursor: str | None = None) -> Page:
    """Return a page of rows; one that cannot be shown is left out, and counted."""
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
