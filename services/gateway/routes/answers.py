"""From a command to the answer of its request: what the engine decided or refused, now or before, or nobody knows."""

from collections.abc import Awaitable, Callable
from contextlib import suppress

from fastapi import Response

from schemas.base import Model
from schemas.events import AnyEvent, OrderDuplicate, OrderRejected
from schemas.orders import ReplaceOrder
from schemas.replies import UnknownReply, rfc3339
from services.gateway import domain
from services.gateway.commands.pending import Decision
from services.gateway.commands.repeats import Result, find_first_result, find_forgotten
from services.gateway.commands.submit import submit_and_wait
from services.gateway.context import GatewayContext
from services.gateway.projections.records import Fill, RejectedOrder, Replacement
from services.gateway.projections.views import show_rejected, timing, why_rejected
from services.gateway.routes.authorize import RequestContext
from services.kit.http import ProblemError
from services.kit.idempotency import REPLAYED, attempt, idempotency_key_of
from services.kit.store import DatabaseAway

JSON = "application/json"


class OutcomeUnknown(domain.GatewayError):
    """Nobody knows what became of a command that was sent; `response` is the 202 that says so."""

    def __init__(self, response: Response):
        super().__init__("the outcome of the command is not known")
        self.response = response


# -- now


async def submit(
    gateway: GatewayContext, context: RequestContext, command: domain.TraderCommand, name: str | None = None
) -> Decision:
    """Send a request's command and return what the engine decided.

    Raises OutcomeUnknown, whose answer repeats the client's `name`, and ProblemError where nothing was done.
    """
    try:
        return await submit_and_wait(gateway, context.caller, command)
    except domain.NoAnswer as error:
        reply = UnknownReply(
            client_order_id=name,
            command_id=command.command_id,
            detail=str(error),
            gateway_in=rfc3339(context.gateway_in_ns),
            gateway_in_ns=str(context.gateway_in_ns),
        )
        raise OutcomeUnknown(answer(context, reply, 202)) from error


def accepted(
    gateway: GatewayContext, context: RequestContext, command: domain.TraderCommand, decision: Decision
) -> AnyEvent:
    """Return the event that answers a command. Raises the engine's refusal as a problem."""
    event = event_of(decision, command)
    if event.type == "order_rejected":
        raise rejection(gateway, context, event)
    return event


def answer(context: RequestContext, reply: Model, status: int = 200) -> Response:
    """Return the answer of a request."""
    return Response(reply.model_dump_json(), status, context.headers, JSON)


def rejection(gateway: GatewayContext, context: RequestContext, event: OrderRejected) -> ProblemError:
    """Return the engine's refusal as a problem: of a stranger's order it says what it says of one that never was."""
    order = gateway.history.orders.get(event.order_id)
    is_foreign = order is not None and order.account != context.caller.account
    code, status = ("unknown_order", 404) if is_foreign else domain.rejection_code(event)
    why = why_rejected(event)
    extra = {
        "client_order_id": event.client_order_id,
        "order_id": event.order_id,
        "why_unfilled": why.model_dump() if why else None,
        "seq": event.seq,
        "timing": timing(context.gateway_in_ns, event.ts_ms),
    }
    return ProblemError(code, domain.rejection_words(code), status, headers=context.headers, extra=extra)


def event_of(decision: Decision, command: domain.TraderCommand) -> AnyEvent:
    """Return the event that answers a command."""
    return next(event for event in decision.events if getattr(event, "command_id", "") == command.command_id)


def own_fills(decision: Decision, order_id: int) -> list[Fill]:
    """Return the trades of an order, or of a capacity order's asks."""
    own = {order.order_id for order in decision.orders.values() if order_id in (order.order_id, order.parent_id)}
    return [fill for fill in decision.fills if own & {fill.buyer_order_id, fill.seller_order_id}]


# -- before


async def answer_once(
    gateway: GatewayContext, context: RequestContext, work: Callable[[], Awaitable[Response]]
) -> Response:
    """Give a repeat under the same idempotency key the first answer; what is not known, or refused, is no answer.

    Copies that come at once wait for each other.
    """
    request = context.request
    key = idempotency_key_of(request)
    if key is None:
        return await work()
    asked = attempt(context.caller.account, key, f"{request.method} {request.scope['path']}", context.body)
    async with gateway.turns.of((asked.account, key)):
        try:
            known = await gateway.store.first_answer(asked)
        except DatabaseAway as error:
            raise unavailable(error) from error
        if known is not None:
            return Response(known, 200, context.headers | REPLAYED, JSON)
        response = await work()
        if response.status_code == 200:
            with suppress(DatabaseAway):  # then a repeat is carried out again, as every repeat without a key is
                await gateway.store.keep_answer(asked, response.body.decode())
                gateway.publisher.wake()
        return response


async def first_under(
    gateway: GatewayContext, context: RequestContext, command: domain.Placing | ReplaceOrder, name: str
) -> Replacement | None:
    """Return the replace that was carried out under this name. Raises what was refused under it, or that the name is
    another's, however long ago.
    """
    try:
        first = await find_forgotten(gateway, context.caller, command, name)
    except DatabaseAway as error:
        raise unavailable(error) from error
    if first is not None:
        context.headers.update(REPLAYED)
    if isinstance(first, RejectedOrder):
        raise rejected_before(context, first)
    return first


async def seen_before(gateway: GatewayContext, event: OrderDuplicate, any_offset: bool = False) -> Result:
    """Return what the engine says was decided before. Raises `unavailable` where it cannot be shown now."""
    try:
        return await find_first_result(gateway, event, any_offset)
    except (domain.HistoryBehind, DatabaseAway) as error:
        raise behind(error) from error


def rejected_before(context: RequestContext, first: RejectedOrder) -> ProblemError:
    """Return the problem of a repeat whose first was refused."""
    extra = show_rejected(first).model_dump(mode="json", exclude={"reason", "status"})
    return ProblemError(first.code, domain.rejection_words(first.code), 422, headers=context.headers, extra=extra)


def behind(error: Exception) -> ProblemError:
    """Return the problem where the first result of a repeat cannot be shown now."""
    return ProblemError("unavailable", f"{error}", retryable=True, order_state="unknown")


def unavailable(error: Exception) -> ProblemError:
    """Return the problem where nothing was done, because the tables do not answer."""
    return ProblemError("unavailable", f"{error}", retryable=True)
