"""Order entry beyond one order at a time: replacing one, and batches of many."""

import dataclasses

from fastapi import Request, Response

from schemas.events import OrderDuplicate
from schemas.orders import CancelOrder, PlaceBatch, ReplaceOrder
from schemas.replies import BatchReply, MemberProblem, MemberResult, ReplaceReply
from schemas.rest import BatchForm, CancelMember, MemberForm, PlaceMember, ReplaceForm
from services.gateway import domain
from services.gateway.commands.pending import Decision
from services.gateway.commands.repeats import fills_of_replacement, find_replacement
from services.gateway.context import GatewayContext
from services.gateway.projections.records import RejectedOrder, Replacement
from services.gateway.projections.views import fills_of, timing
from services.gateway.routes.answers import (
    accepted,
    answer,
    answer_once,
    behind,
    event_of,
    first_under,
    own_fills,
    rejected_before,
    seen_before,
    submit,
)
from services.gateway.routes.authorize import TRADERS, RequestContext, authorize, require_scope, spend
from services.gateway.routes.forms import client_id_in, command_from, name_by, order_number, read, signature_or_key
from services.gateway.routes.orders import canceled_orders, placed, placing_of, require_own
from services.kit.auth import Caller
from services.kit.http import ProblemError
from services.kit.idempotency import REPLAYED, idempotency_key_of
from services.kit.limits import EitherBudget
from services.kit.store import DatabaseAway

OPERATIONS = {PlaceMember: "place", CancelMember: "cancel"}
Member = domain.Placing | CancelOrder | ReplaceOrder

# -- replacing one order


async def replace(gateway: GatewayContext, request: Request) -> Response:
    """Replace one order by our id."""
    context = await authorize(gateway, request, gateway.order_budget, *TRADERS)
    order_id = order_number(request)
    await require_own(gateway, context.caller.account, order_id)
    return await _replace_one(gateway, context, {"order_id": order_id, "client_order_id": None})


async def replace_by_client_id(gateway: GatewayContext, request: Request) -> Response:
    """Replace one order by the client's id."""
    context = await authorize(gateway, request, gateway.order_budget, *TRADERS)
    return await _replace_one(gateway, context, {"order_id": None, "client_order_id": client_id_in(request)})


async def _replace_one(gateway: GatewayContext, context: RequestContext, named: dict) -> Response:
    form = read(ReplaceForm.model_validate_json, context.body)
    command = _replace_of(gateway, form, named, context.caller, idempotency_key_of(context.request))
    if first := await _replaced_before(gateway, context, command):
        result, engine_ms = await _show_replacement(gateway, context, first), first.left_as.updated_ms
    else:
        decision = await submit(gateway, context, command, command.replace_id)
        result = await _replaced(gateway, context, command, decision)
        engine_ms = event_of(decision, command).ts_ms
    reply = ReplaceReply(
        order=result.order,
        priority_kept=bool(result.priority_kept),
        fills=result.fills,
        timing=timing(context.gateway_in_ns, engine_ms),
    )
    return answer(context, reply)


def _replace_of(
    gateway: GatewayContext, form: ReplaceForm, named: dict, caller: Caller, key: str | None = None
) -> ReplaceOrder:
    """Return the command; one without a name of its own is named by its idempotency key, if it has one."""
    command_id = gateway.next_command_id()
    command = command_from(lambda: domain.replace_of(form, named, caller.account, command_id))
    if command.replace_id is None and key is not None:
        return command.model_copy(update={"replace_id": name_by(f"key:{key}")})
    return command


async def _replaced_before(
    gateway: GatewayContext, context: RequestContext, command: ReplaceOrder
) -> Replacement | None:
    name = command.replace_id
    return None if name is None else await first_under(gateway, context, command, name)


async def _show_replacement(gateway: GatewayContext, context: RequestContext, first: Replacement) -> MemberResult:
    """Return the order as a replace left it, whatever came after."""
    try:
        fills = await fills_of_replacement(gateway, first)
    except (domain.HistoryBehind, DatabaseAway) as error:
        raise behind(error) from error
    return MemberResult(
        op="replace",
        status=200,
        replayed=True,
        order=gateway.views.order(first.left_as),
        fills=fills_of(gateway.views, fills, context.caller.account),
        priority_kept=first.priority_kept,
    )


async def _replaced(
    gateway: GatewayContext, context: RequestContext, command: ReplaceOrder, decision: Decision
) -> MemberResult:
    """Return the order with its new terms; a repeat gets the first answer."""
    event = accepted(gateway, context, command, decision)
    if event.type == "order_duplicate":
        context.headers.update(REPLAYED)
        if event.order_id is not None and (first := await _replacement_of(gateway, event)):
            return await _show_replacement(gateway, context, first)
        order, _ = await seen_before(gateway, event, any_offset=True)
        if isinstance(order, RejectedOrder):
            raise rejected_before(context, order)
        return MemberResult(op="replace", status=200, replayed=True, order=gateway.views.order(order))
    return MemberResult(
        op="replace",
        status=200,
        order=gateway.views.order(decision.orders[event.order_id]),
        fills=fills_of(gateway.views, own_fills(decision, event.order_id), context.caller.account),
        priority_kept=event.priority_kept,
    )


async def _replacement_of(gateway: GatewayContext, event: OrderDuplicate) -> Replacement | None:
    try:
        return await find_replacement(gateway, event)
    except (domain.HistoryBehind, DatabaseAway) as error:
        raise behind(error) from error


# -- many at once


async def batch(gateway: GatewayContext, request: Request) -> Response:
    """Place, cancel and replace several orders in one record of the log."""
    either = EitherBudget(gateway.order_budget, gateway.cancel_budget)
    context = await authorize(gateway, request, either, *TRADERS)
    form = read(BatchForm.model_validate_json, context.body)
    cancels = sum(isinstance(each, CancelMember) for each in form.members)
    context.headers.update(spend(gateway.cancel_budget, context.caller, cancels))
    context.headers.update(spend(gateway.order_budget, context.caller, len(form.members) - cancels))
    return await answer_once(gateway, context, lambda: _answer_batch(gateway, context, form))


async def _answer_batch(gateway: GatewayContext, context: RequestContext, form: BatchForm) -> Response:
    signature = signature_or_key(context.request)
    numbered = enumerate(form.members)
    members = [await _member(gateway, context, each, f"{signature}:{place}") for place, each in numbered]
    sent = tuple(member for member in members if not isinstance(member, MemberResult))
    command_id, decision = gateway.next_command_id(), None
    if sent:
        command = PlaceBatch(command_id=command_id, account=context.caller.account, members=sent)
        decision = await submit(gateway, context, command)
    pairs = zip(form.members, members, strict=True)
    results = [await _result(gateway, context, each, member, decision) for each, member in pairs]
    when = timing(context.gateway_in_ns, decision.events[0].ts_ms) if decision else None
    return answer(context, BatchReply(results=tuple(results), timing=when))


async def _member(
    gateway: GatewayContext, context: RequestContext, form: MemberForm, signature: str
) -> Member | MemberResult:
    """Return a member's command, or its result where the edge knows it already; the others are carried out."""
    own = dataclasses.replace(context, headers={})
    try:
        return await _member_of(gateway, own, form, signature)
    except ProblemError as problem:
        return refused_member(form, problem, replayed=own.headers == REPLAYED)


async def _member_of(
    gateway: GatewayContext, context: RequestContext, form: MemberForm, signature: str
) -> Member | MemberResult:
    caller = context.caller
    if isinstance(form, PlaceMember):
        require_scope(caller, *domain.scopes_for(form.order))
        command = placing_of(gateway, form.order, caller, signature)
        await first_under(gateway, context, command, command.client_order_id)
        return command
    await require_own(gateway, caller.account, form.order_id)
    named = {"order_id": form.order_id, "client_order_id": form.client_order_id}
    if isinstance(form, CancelMember):
        return CancelOrder(command_id=gateway.next_command_id(), account=caller.account, **named)
    command = _replace_of(gateway, form, named, caller)
    first = await _replaced_before(gateway, context, command)
    return command if first is None else await _show_replacement(gateway, context, first)


async def _result(
    gateway: GatewayContext,
    context: RequestContext,
    form: MemberForm,
    member: Member | MemberResult,
    decision: Decision | None,
) -> MemberResult:
    if isinstance(member, MemberResult):
        return member
    own = dataclasses.replace(context, headers={})
    try:
        return await _carried_out(gateway, own, form, member, decision)
    except ProblemError as problem:
        return refused_member(form, problem, replayed=own.headers == REPLAYED)


async def _carried_out(
    gateway: GatewayContext, context: RequestContext, form: MemberForm, member: Member, decision: Decision
) -> MemberResult:
    if isinstance(form, CancelMember):
        own = canceled_by(member, decision)
        accepted(gateway, context, member, own)
        return MemberResult(op="cancel", status=200, orders=canceled_orders(gateway, member, own))
    if not isinstance(form, PlaceMember):
        return await _replaced(gateway, context, member, decision)
    event = event_of(decision, member)
    order, fills, status = await placed(gateway, context, member, decision, event)
    return MemberResult(
        op="place",
        status=status,
        replayed=status == 200,
        order=gateway.views.order(order),
        fills=fills_of(gateway.views, fills, context.caller.account),
    )


def refused_member(form: MemberForm, problem: ProblemError, replayed: bool) -> MemberResult:
    """Show a member that was refused."""
    why = problem.extra.get("why_unfilled")
    return MemberResult(
        op=OPERATIONS.get(type(form), "replace"),
        status=problem.status,
        replayed=replayed,
        problem=MemberProblem(code=problem.code, detail=problem.detail, why_unfilled=why),
    )


def canceled_by(member: CancelOrder, decision: Decision) -> Decision:
    """Return the part of a batch's decision that one of its cancels came to."""
    events = decision.events
    end = next(place for place, event in enumerate(events) if getattr(event, "command_id", "") == member.command_id)
    begin = end
    while begin and events[begin - 1].type == "order_canceled" and events[begin - 1].reason == "user":
        begin -= 1
    return dataclasses.replace(decision, events=events[begin : end + 1])
