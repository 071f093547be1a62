"""Placing and canceling: a signed form becomes a command, and the answer is the engine's decision read from the log."""

from collections.abc import Iterable

from fastapi import Request, Response

from schemas.events import AnyEvent
from schemas.ids import AccountId
from schemas.orders import CancelOrder
from schemas.replies import CancelReply, OrderView
from schemas.rest import ORDER_FORM, AnyOrderForm, CancelForm
from services.gateway import domain
from services.gateway.commands.pending import Decision
from services.gateway.commands.repeats import Result, find_if_closed
from services.gateway.context import GatewayContext
from services.gateway.projections.records import Fill, Order, RejectedOrder
from services.gateway.projections.views import as_first_decided, timing
from services.gateway.routes.answers import (
    JSON,
    accepted,
    answer,
    answer_once,
    behind,
    event_of,
    first_under,
    own_fills,
    rejected_before,
    rejection,
    seen_before,
    submit,
)
from services.gateway.routes.authorize import TRADERS, RequestContext, authorize, require_scope
from services.gateway.routes.forms import client_id_in, command_from, name_by, order_number, read, signature_or_key
from services.kit.auth import Caller
from services.kit.http import ProblemError
from services.kit.idempotency import REPLAYED, idempotency_key_of
from services.kit.rows import show_rows
from services.kit.store import DatabaseAway

# -- placing


async def place(gateway: GatewayContext, request: Request) -> Response:
    """Place an order of any kind."""
    context = await authorize(gateway, request, gateway.order_budget)
    form = read(ORDER_FORM.validate_json, context.body)
    require_scope(context.caller, *domain.scopes_for(form))
    command = placing_of(gateway, form, context.caller, signature_or_key(request))
    if form.client_order_id or idempotency_key_of(request) is not None:
        await first_under(gateway, context, command, command.client_order_id)
    decision = await submit(gateway, context, command, command.client_order_id)
    event = event_of(decision, command)
    order, fills, status = await placed(gateway, context, command, decision, event)
    moments = timing(context.gateway_in_ns, event.ts_ms)
    body = gateway.views.order_reply(order, fills, context.caller.account, moments)
    context.headers["Location"] = f"/v1/orders/{order.order_id}"
    return Response(body, status, context.headers, JSON)


def placing_of(gateway: GatewayContext, form: AnyOrderForm, caller: Caller, signature: str) -> domain.Placing:
    """Return the command of a form."""
    # A nameless order is named by its signature: the same request twice is the same order, even after a restart.
    command_id, fallback_id = gateway.next_command_id(), name_by(signature)
    return command_from(lambda: domain.command_of(form, caller.account, command_id, fallback_id))


async def placed(
    gateway: GatewayContext, context: RequestContext, command: domain.Placing, decision: Decision, event: AnyEvent
) -> tuple[Order, Iterable[Fill], int]:
    """Return the order with its trades and the status of the answer: 200 for what was decided before."""
    if found := await _first_result(gateway, command, event):
        first, fills = found
        context.headers.update(REPLAYED)
        if isinstance(first, RejectedOrder):
            raise rejected_before(context, first)
        return as_first_decided(first), fills, 200
    if event.type == "order_rejected":
        raise rejection(gateway, context, event)
    return decision.orders[event.order_id], own_fills(decision, event.order_id), 201


async def _first_result(gateway: GatewayContext, command: domain.Placing, event: AnyEvent) -> Result | None:
    if event.type == "order_duplicate":
        return await seen_before(gateway, event)
    if getattr(event, "code", "") not in ("gate_closed", "unlisted_contract"):
        return None
    try:
        return await find_if_closed(gateway, command)  # the engine forgets a name with its gate
    except DatabaseAway as error:
        raise behind(error) from error


# -- canceling


async def cancel(gateway: GatewayContext, request: Request) -> Response:
    """Cancel one order by our id."""
    context = await authorize(gateway, request, gateway.cancel_budget, *TRADERS)
    order_id = order_number(request)
    await require_own(gateway, context.caller.account, order_id)
    return await _cancel_one(gateway, context, order_id=order_id, client_order_id=None)


async def cancel_by_client_id(gateway: GatewayContext, request: Request) -> Response:
    """Cancel one order by the client's id."""
    context = await authorize(gateway, request, gateway.cancel_budget, *TRADERS)
    client_order_id = client_id_in(request, otherwise=", or use cancel-all")
    return await _cancel_one(gateway, context, order_id=None, client_order_id=client_order_id)


async def cancel_all(gateway: GatewayContext, request: Request) -> Response:
    """Cancel every order of the account that fits the filters given."""
    context = await authorize(gateway, request, gateway.cancel_budget, *TRADERS)
    form = read(CancelForm.model_validate_json, context.body or b"{}")
    account, command_id = context.caller.account, gateway.next_command_id()
    command = command_from(lambda: domain.mass_cancel_of(form, account, command_id))
    return await answer_once(gateway, context, lambda: answer_cancel(gateway, context, command))


async def require_own(gateway: GatewayContext, account: AccountId, order_id: int | None) -> None:
    """Raise for a stranger's order what is said of one that never was, before anything is sent.

    Live and ended ones take the same way to that answer, through the tables, so that they take as long.
    """
    history = gateway.history
    order = history.orders.get(order_id)
    is_own = order is not None and order.account == account
    if order_id is None or is_own or (order is None and order_id > history.newest_order_id):
        return  # one that the gateway has not seen yet may be on its way: the engine knows
    try:
        own = await gateway.store.order(account, order_id)
    except DatabaseAway as error:
        raise behind(error) from error
    if own is None:
        raise ProblemError("unknown_order", domain.REJECTION_WORDS["unknown_order"], 404)


async def _cancel_one(gateway: GatewayContext, context: RequestContext, **named) -> Response:
    fields = {"command_id": gateway.next_command_id(), "account": context.caller.account} | named
    return await answer_cancel(gateway, context, read(lambda values: CancelOrder(**values), fields))


async def answer_cancel(gateway: GatewayContext, context: RequestContext, command: domain.Changing) -> Response:
    """Carry out a command that cancels; answer with the orders that it ended."""
    decision = await submit(gateway, context, command)
    event = accepted(gateway, context, command, decision)
    reply = CancelReply(
        canceled=event.canceled if event.type == "cancel_done" else 0,
        orders=canceled_orders(gateway, command, decision),
        timing=timing(context.gateway_in_ns, event.ts_ms),
    )
    return answer(context, reply)


def canceled_orders(gateway: GatewayContext, command: domain.Changing, decision: Decision) -> tuple[OrderView, ...]:
    """Return the account's orders that a cancel ended."""
    ended = {done.order_id for done in decision.events if done.type == "order_canceled"}
    orders = [
        order
        for order in decision.orders.values()
        if order.account == command.account and order.status == "canceled" and _is_or_holds(order, ended, decision)
    ]
    return show_rows(orders, gateway.views.order)


def _is_or_holds(order: Order, ended: set[int], decision: Decision) -> bool:
    """Say whether an order ended itself, or is the capacity order of asks that did; such asks are not listed."""
    if order.parent_id:
        return False
    return order.order_id in ended or any(decision.orders[ask].parent_id == order.order_id for ask in ended)
