"""Capacity orders after they were taken: repriced as a whole, withdrawn for a part of their window."""

from fastapi import Request, Response

from schemas.orders import RepriceCapacity
from schemas.replies import RepriceReply
from schemas.rest import RepriceForm, WithdrawForm
from services.gateway import domain
from services.gateway.context import GatewayContext
from services.gateway.projections.views import fills_of, timing
from services.gateway.routes.answers import accepted, answer, answer_once, own_fills, submit
from services.gateway.routes.authorize import TRADERS, RequestContext, authorize, require_scope
from services.gateway.routes.forms import command_from, read
from services.gateway.routes.orders import answer_cancel, require_own


async def reprice(gateway: GatewayContext, request: Request) -> Response:
    """Give all asks of a capacity order other prices."""
    context = await authorize(gateway, request, gateway.order_budget, *TRADERS)
    require_scope(context.caller, "operate")
    form = read(RepriceForm.model_validate_json, context.body)
    await require_own(gateway, context.caller.account, form.order_id)
    command_id = gateway.next_command_id()
    command = command_from(lambda: domain.reprice_of(form, context.caller.account, command_id))
    return await answer_once(gateway, context, lambda: _answer_reprice(gateway, context, command))


async def _answer_reprice(gateway: GatewayContext, context: RequestContext, command: RepriceCapacity) -> Response:
    decision = await submit(gateway, context, command)
    event = accepted(gateway, context, command, decision)
    reply = RepriceReply(
        order=gateway.views.order(decision.orders[event.order_id]),
        changed=event.changed,
        fills=fills_of(gateway.views, own_fills(decision, event.order_id), context.caller.account),
        timing=timing(context.gateway_in_ns, event.ts_ms),
    )
    return answer(context, reply)


async def withdraw(gateway: GatewayContext, request: Request) -> Response:
    """Cancel the asks of a capacity order that deliver in a window."""
    context = await authorize(gateway, request, gateway.cancel_budget, *TRADERS)
    form = read(WithdrawForm.model_validate_json, context.body)
    await require_own(gateway, context.caller.account, form.order_id)
    command_id = gateway.next_command_id()
    command = command_from(lambda: domain.withdrawal_of(form, context.caller.account, command_id))
    return await answer_once(gateway, context, lambda: answer_cancel(gateway, context, command))
