"""What guards an account's orders: a market maker's protection in a product, and dead-man timers."""

from fastapi import Request, Response

from schemas.orders import CancelAllAfter, SetProtection
from schemas.replies import CancelTimerReply, ProtectionReply, rfc3339
from schemas.rest import CancelAllAfterForm, ProtectionForm
from services.gateway.context import GatewayContext
from services.gateway.projections.views import NS_PER_MS, timing
from services.gateway.routes.answers import accepted, answer, answer_once, submit
from services.gateway.routes.authorize import TRADERS, RequestContext, authorize
from services.gateway.routes.forms import read


async def protect(gateway: GatewayContext, request: Request) -> Response:
    """Set, change or end the account's protection in a product."""
    context = await authorize(gateway, request, gateway.cancel_budget, *TRADERS)
    form = read(ProtectionForm.model_validate_json, context.body)
    command_id = gateway.next_command_id()
    command = SetProtection(command_id=command_id, account=context.caller.account, **form.model_dump())
    decision = await submit(gateway, context, command)
    event = accepted(gateway, context, command, decision)
    return answer(context, ProtectionReply(**form.model_dump(), timing=timing(context.gateway_in_ns, event.ts_ms)))


async def cancel_all_after(gateway: GatewayContext, request: Request) -> Response:
    """Set or disarm a session's dead-man timer."""
    context = await authorize(gateway, request, gateway.cancel_budget, *TRADERS)
    form = read(CancelAllAfterForm.model_validate_json, context.body)
    command = CancelAllAfter(
        command_id=gateway.next_command_id(),
        account=context.caller.account,
        session=form.session,
        timeout_ms=form.timeout_s * 1000,
    )
    return await answer_once(gateway, context, lambda: _answer_timer(gateway, context, command))


async def _answer_timer(gateway: GatewayContext, context: RequestContext, command: CancelAllAfter) -> Response:
    gateway.note_timer(context.caller, command.session, command.timeout_ms)
    decision = await submit(gateway, context, command)
    event = accepted(gateway, context, command, decision)
    due_ns = None if event.due_ms is None else event.due_ms * NS_PER_MS
    reply = CancelTimerReply(
        session=command.session,
        due=None if due_ns is None else rfc3339(due_ns),
        due_ns=None if due_ns is None else str(due_ns),
        timing=timing(context.gateway_in_ns, event.ts_ms),
    )
    return answer(context, reply)
