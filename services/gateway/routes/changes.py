"""Order entry beyond one order at a time: replacing, batches, dead-man timers."""

import time
from dataclasses import replace

from fastapi import Request, Response
from starlette.datastructures import QueryParams

from schemas.events import OrderDuplicate
from schemas.orders import CancelAllAfter, CancelOrder, PlaceBatch, ReplaceOrder
from schemas.replies import BatchReply, CancelTimerReply, MemberProblem, MemberResult, ReplaceReply, rfc3339
from schemas.rest import BatchForm, CancelAllAfterForm, CancelMember, MemberForm, PlaceMember, ReplaceForm
from services.gateway import domain
from services.gateway.commands.pending import Decision
from services.gateway.commands.repeats import fills_of_replacement, find_replacement
from services.gateway.commands.submit import decide
from services.gateway.context import spend
from services.gateway.projections.records import Refusal, Replacement
from services.gateway.projections.views import NS_PER_MS, fills_of, timing
from services.gateway.routes.orders import (
    JSON,
    Errand,
    OrderEntry,
    behind,
    check_any_scope,
    event_of,
    formed,
    name_by,
    order_number,
    own_fills,
    read,
    signature_or_key,
    unknown,
)
from services.kit.auth import Caller
from services.kit.http import ProblemError
from services.kit.idempotency import REPLAYED, idempotency_key_of
from services.kit.store import DatabaseAway

OPERATIONS = {PlaceMember: "place", CancelMember: "cancel"}
Member = domain.Placing | CancelOrder | ReplaceOrder


class OrderChanges(OrderEntry):
    """The routes that change orders, one or many, on top of those that place and cancel one."""

    # -- replacing one order

    async def replace(self, request: Request) -> Response:
        """Replaces one order by our id."""
        errand, body = await self._trade_errand(request)
        order_id = order_number(request.path_params["order_id"])
        await self._require_own(errand.caller.account, order_id)
        return await self._replace(errand, request, body, {"order_id": order_id, "client_order_id": None})

    async def replace_by_client_id(self, request: Request) -> Response:
        """Replaces one order by the client's id."""
        errand, body = await self._trade_errand(request)
        named = {"order_id": None, "client_order_id": client_id_in(request)}
        return await self._replace(errand, request, body, named)

    async def _replace(self, errand: Errand, request: Request, body: bytes, named: dict) -> Response:
        form = read(ReplaceForm.model_validate_json, body)
        command = self._replace_of(form, named, errand.caller, idempotency_key_of(request))
        if first := await self._replaced_before(errand, command):
            result, engine_ms = await self._show_replacement(errand, first), first.left_as.updated_ms
        else:
            try:
                decision = await decide(self._desk, errand.caller, command)
            except domain.NoAnswer as error:
                return unknown(errand, command.command_id, command.replace_id, str(error))
            result = await self._replaced(errand, command, decision)
            engine_ms = event_of(decision, command).ts_ms
        reply = ReplaceReply(
            order=result.order,
            priority_kept=bool(result.priority_kept),
            fills=result.fills,
            timing=timing(errand.gateway_in_ns, engine_ms),
        )
        return Response(reply.model_dump_json(), 200, errand.headers, JSON)

    def _replace_of(self, form: ReplaceForm, named: dict, caller: Caller, key: str | None = None) -> ReplaceOrder:
        """Returns the command; one without a name of its own is named by its idempotency key, if it has one."""
        command_id = self._desk.next_command_id()
        command = formed(lambda: domain.replace_of(form, named, caller.account, command_id))
        if command.replace_id is None and key is not None:
            return command.model_copy(update={"replace_id": name_by(f"key:{key}")})
        return command

    async def _replaced_before(self, errand: Errand, command: ReplaceOrder) -> Replacement | None:
        name = command.replace_id
        return None if name is None else await self._first_under(errand, command, name)

    async def _show_replacement(self, errand: Errand, first: Replacement) -> MemberResult:
        """Returns the order as a replace left it, whatever came after."""
        try:
            fills = await fills_of_replacement(self._desk, first)
        except (domain.HistoryBehind, DatabaseAway) as error:
            raise behind(error) from error
        return MemberResult(
            op="replace",
            status=200,
            replayed=True,
            order=self._desk.views.order(first.left_as),
            fills=fills_of(self._desk.views, fills, errand.caller.account),
            priority_kept=first.priority_kept,
        )

    async def _replaced(self, errand: Errand, command: ReplaceOrder, decision: Decision) -> MemberResult:
        """Returns the order with its new terms; a repeat gets the first answer."""
        event, account = event_of(decision, command), errand.caller.account
        if event.type == "order_rejected":
            raise self._refusal(errand, event)
        if event.type == "order_duplicate":
            errand.headers.update(REPLAYED)
            if event.order_id is not None and (replaced := await self._replacement_of(event)):
                return await self._show_replacement(errand, replaced)
            first, _ = await self._seen_before(event, any_offset=True)
            if isinstance(first, Refusal):
                raise self._refused_before(errand, first)
            return MemberResult(op="replace", status=200, replayed=True, order=self._desk.views.order(first))
        return MemberResult(
            op="replace",
            status=200,
            order=self._desk.views.order(decision.orders[event.order_id]),
            fills=fills_of(self._desk.views, own_fills(decision, event.order_id), account),
            priority_kept=event.priority_kept,
        )

    async def _replacement_of(self, event: OrderDuplicate) -> Replacement | None:
        try:
            return await find_replacement(self._desk, event)
        except (domain.HistoryBehind, DatabaseAway) as error:
            raise behind(error) from error

    # -- many at once

    async def batch(self, request: Request) -> Response:
        """Places, cancels and replaces several orders in one record of the log."""
        gateway_in_ns, body = time.time_ns(), await request.body()
        caller = self._desk.caller_of(request, body)
        check_any_scope(caller, ("trade", "operate"))
        form = read(BatchForm.model_validate_json, body)
        cancels = sum(isinstance(each, CancelMember) for each in form.members)
        headers = spend(self._desk.cancels, caller, cancels) | spend(
            self._desk.orders, caller, len(form.members) - cancels
        )
        errand = Errand(caller, gateway_in_ns, headers)
        return await self._once(errand, request, body, lambda: self._batch(errand, form, request))

    async def _batch(self, errand: Errand, form: BatchForm, request: Request) -> Response:
        signature = signature_or_key(request)
        numbered = enumerate(form.members)
        members = [await self._member(each, f"{signature}:{place}", errand) for place, each in numbered]
        sent = tuple(member for member in members if not isinstance(member, MemberResult))
        command_id, decision = self._desk.next_command_id(), None
        if sent:
            command = PlaceBatch(command_id=command_id, account=errand.caller.account, members=sent)
            try:
                decision = await decide(self._desk, errand.caller, command)
            except domain.NoAnswer as error:
                return unknown(errand, command.command_id, None, str(error))
        pairs = zip(form.members, members, strict=True)
        results = [await self._result(errand, each, member, decision) for each, member in pairs]
        when = timing(errand.gateway_in_ns, decision.events[0].ts_ms) if decision else None
        reply = BatchReply(results=tuple(results), timing=when)
        return Response(reply.model_dump_json(), 200, errand.headers, JSON)

    async def _member(self, form: MemberForm, signature: str, errand: Errand) -> Member | MemberResult:
        """Returns a member's command, or its result where the edge knows it already; the others are carried out."""
        own = replace(errand, headers={})
        try:
            return await self._member_of(form, signature, own)
        except ProblemError as problem:
            return refused_member(form, problem, replayed=own.headers == REPLAYED)

    async def _member_of(self, form: MemberForm, signature: str, errand: Errand) -> Member | MemberResult:
        caller = errand.caller
        if isinstance(form, PlaceMember):
            check_any_scope(caller, domain.scopes_for(form.order))
            command = self._command_of(form.order, caller, signature)
            await self._first_under(errand, command, command.client_order_id)
            return command
        await self._require_own(caller.account, form.order_id)
        named = {"order_id": form.order_id, "client_order_id": form.client_order_id}
        if isinstance(form, CancelMember):
            return CancelOrder(command_id=self._desk.next_command_id(), account=caller.account, **named)
        command = self._replace_of(form, named, caller)
        first = await self._replaced_before(errand, command)
        return command if first is None else await self._show_replacement(errand, first)

    async def _result(
        self, errand: Errand, form: MemberForm, member: Member | MemberResult, decision: Decision | None
    ) -> MemberResult:
        if isinstance(member, MemberResult):
            return member
        own = replace(errand, headers={})
        try:
            return await self._done(own, form, member, decision)
        except ProblemError as problem:
            return refused_member(form, problem, replayed=own.headers == REPLAYED)

    async def _done(self, errand: Errand, form: MemberForm, member: Member, decision: Decision) -> MemberResult:
        if isinstance(form, CancelMember):
            orders = self._canceled(errand, member, canceled_by(member, decision))
            return MemberResult(op="cancel", status=200, orders=orders)
        if not isinstance(form, PlaceMember):
            return await self._replaced(errand, member, decision)
        order, fills, status = await self._placed(errand, member, decision)
        views = self._desk.views
        shown = fills_of(views, fills, errand.caller.account)
        replayed = status == 200
        return MemberResult(op="place", status=status, replayed=replayed, order=views.order(order), fills=shown)

    # -- silence

    async def cancel_all_after(self, request: Request) -> Response:
        """Sets or disarms a session's dead-man timer."""
        errand, body = await self._cancel_errand(request)
        form = read(CancelAllAfterForm.model_validate_json, body)
        command = CancelAllAfter(
            command_id=self._desk.next_command_id(),
            account=errand.caller.account,
            session=form.session,
            timeout_ms=form.timeout_s * 1000,
        )
        return await self._once(errand, request, body, lambda: self._answer_timer(errand, form, command))

    async def _answer_timer(self, errand: Errand, form: CancelAllAfterForm, command: CancelAllAfter) -> Response:
        self._desk.note_timer(errand.caller, form.session, command.timeout_ms)
        try:
            decision = await decide(self._desk, errand.caller, command)
        except domain.NoAnswer as error:
            return unknown(errand, command.command_id, None, str(error))
        event = event_of(decision, command)
        if event.type == "order_rejected":
            raise self._refusal(errand, event)
        due_ns = None if event.due_ms is None else event.due_ms * NS_PER_MS
        reply = CancelTimerReply(
            session=form.session,
            due=None if due_ns is None else rfc3339(due_ns),
            due_ns=None if due_ns is None else str(due_ns),
            timing=timing(errand.gateway_in_ns, event.ts_ms),
        )
        return Response(reply.model_dump_json(), 200, errand.headers, JSON)

    async def _trade_errand(self, request: Request) -> tuple[Errand, bytes]:
        gateway_in_ns, body = time.time_ns(), await request.body()
        caller = self._desk.caller_of(request, body, self._desk.orders)
        headers = spend(self._desk.orders, caller)
        check_any_scope(caller, ("trade", "operate"))
        return Errand(caller, gateway_in_ns, headers), body


def refused_member(form: MemberForm, problem: ProblemError, replayed: bool) -> MemberResult:
    """Shows a member that was refused."""
    why = problem.extra.get("why_unfilled")
    return MemberResult(
        op=OPERATIONS.get(type(form), "replace"),
        status=problem.status,
        replayed=replayed,
        problem=MemberProblem(code=problem.code, detail=problem.detail, why_unfilled=why),
    )


def client_id_in(request: Request) -> str:
    """Returns the client's id that a request names its order by."""
    query: QueryParams = request.query_params
    client_order_id = query.get("client_order_id")
    if not client_order_id:
        raise ProblemError("malformed_request", "name the order with `client_order_id`")
    return client_order_id


def canceled_by(member: CancelOrder, decision: Decision) -> Decision:
    """Returns the part of a batch's decision that one of its cancels came to."""
    events = decision.events
    end = next(place for place, event in enumerate(events) if getattr(event, "command_id", "") == member.command_id)
    begin = end
    while begin and events[begin - 1].type == "order_canceled" and events[begin - 1].reason == "user":
        begin -= 1
    return replace(decision, events=events[begin : end + 1])
