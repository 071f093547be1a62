"""Placing and canceling: a signed form becomes a command, and the answer is the engine's decision read from the log."""

import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import TypeVar

from fastapi import Request, Response
from pydantic import ValidationError

from schemas.events import AnyEvent, OrderDuplicate, OrderRejected
from schemas.ids import AccountId, ClientOrderId
from schemas.money import COUNTER_MAX
from schemas.orders import CancelOrder, ReplaceOrder
from schemas.replies import CancelReply, OrderView, UnknownReply, rfc3339
from schemas.rest import ORDER_FORM, AnyOrderForm, CancelForm
from schemas.signing import SIGNATURE_HEADER
from services.gateway import domain
from services.gateway.commands.pending import Decision
from services.gateway.commands.repeats import Result, find_first_result, find_forgotten, find_if_closed
from services.gateway.commands.submit import decide
from services.gateway.context import Desk, spend
from services.gateway.projections.records import Fill, Order, Refusal, Replacement
from services.gateway.projections.views import as_first_decided, refused, timing, why_refused
from services.kit.auth import Caller, check_scope
from services.kit.http import ProblemError
from services.kit.idempotency import REPLAYED, attempt, idempotency_key_of
from services.kit.inputs import read_number
from services.kit.request_parts import headers_of
from services.kit.rows import show_rows
from services.kit.store import DatabaseAway

JSON = "application/json"
SIGNATURE = SIGNATURE_HEADER.lower().encode()
Made = TypeVar("Made")


@dataclass(frozen=True)
class Errand:
    """One request on its way: who asks, when it came in, and the headers of its answer so far."""

    caller: Caller
    gateway_in_ns: int
    headers: dict[str, str]


class OrderEntry:
    """The routes that write to the command log. They take the bare request: FastAPI's own handling costs too much."""

    def __init__(self, desk: Desk):
        self._desk = desk

    async def place(self, request: Request) -> Response:
        """Places an order: limit, market, block or capacity."""
        gateway_in_ns, body = time.time_ns(), await request.body()
        caller = self._desk.caller_of(request, body, self._desk.orders)
        errand = Errand(caller, gateway_in_ns, spend(self._desk.orders, caller))
        form = read(ORDER_FORM.validate_json, body)
        check_any_scope(caller, domain.scopes_for(form))
        command = self._command_of(form, caller, signature_or_key(request))
        if form.client_order_id or idempotency_key_of(request) is not None:
            await self._first_under(errand, command, command.client_order_id)
        try:
            decision = await decide(self._desk, errand.caller, command)
        except domain.NoAnswer as error:
            return unknown(errand, command.command_id, command.client_order_id, str(error))
        return await self._answer_order(errand, command, decision)

    async def cancel(self, request: Request) -> Response:
        """Cancels one order by our id."""
        errand, _ = await self._cancel_errand(request)
        order_id = order_number(request.path_params["order_id"])
        await self._require_own(errand.caller.account, order_id)
        return await self._cancel(errand, order_id=order_id, client_order_id=None)

    async def cancel_by_client_id(self, request: Request) -> Response:
        """Cancels one order by the client's id."""
        errand, _ = await self._cancel_errand(request)
        client_order_id = request.query_params.get("client_order_id")
        if not client_order_id:
            raise ProblemError("malformed_request", "name the order with `client_order_id`, or use cancel-all")
        return await self._cancel(errand, order_id=None, client_order_id=client_order_id)

    async def cancel_all(self, request: Request) -> Response:
        """Cancels every order of the account that fits the filters given."""
        errand, body = await self._cancel_errand(request)
        form = read(CancelForm.model_validate_json, body or b"{}")
        command = formed(lambda: domain.mass_cancel_of(form, errand.caller.account, self._desk.next_command_id()))
        return await self._once(errand, request, body, lambda: self._answer_cancel(errand, command))

    async def _once(
        self, errand: Errand, request: Request, body: bytes, work: Callable[[], Awaitable[Response]]
    ) -> Response:
        """Gives a repeat under the same idempotency key the first answer; what is not known, or refused, is no answer.

        Copies that come at once wait for each other.
        """
        key = idempotency_key_of(request)
        if key is None:
            return await work()
        asked = attempt(errand.caller.account, key, f"{request.method} {request.scope['path']}", body)
        async with self._desk.turns.of((asked.account, key)):
            try:
                known = await self._desk.store.first_answer(asked)
            except DatabaseAway as error:
                raise ProblemError("unavailable", f"{error}", retryable=True) from error
            if known is not None:
                return Response(known, 200, errand.headers | REPLAYED, JSON)
            response = await work()
            if response.status_code == 200:
                with suppress(DatabaseAway):  # then a repeat is carried out again, as every repeat without a key is
                    await self._desk.store.keep_answer(asked, response.body.decode())
                    self._desk.publisher.wake()
            return response

    async def _cancel(self, errand: Errand, **named) -> Response:
        fields = {"command_id": self._desk.next_command_id(), "account": errand.caller.account} | named
        return await self._answer_cancel(errand, read(lambda values: CancelOrder(**values), fields))

    async def _cancel_errand(self, request: Request) -> tuple[Errand, bytes]:
        gateway_in_ns, body = time.time_ns(), await request.body()
        caller = self._desk.caller_of(request, body, self._desk.cancels)
        headers = spend(self._desk.cancels, caller)
        check_any_scope(caller, ("trade", "operate"))
        return Errand(caller, gateway_in_ns, headers), body

    def _command_of(self, form: AnyOrderForm, caller: Caller, signature: str) -> domain.Placing:
        # A nameless order is named by its signature: the same request twice is the same order, even after a restart.
        command_id, fallback_id = self._desk.next_command_id(), name_by(signature)
        return formed(lambda: domain.command_of(form, caller.account, command_id, fallback_id))

    async def _first_under(
        self, errand: Errand, command: domain.Placing | ReplaceOrder, name: str
    ) -> Replacement | None:
        """Returns the replace that was carried out under this name. Raises what was refused under it, or that the name
        is another's, however long ago.
        """
        try:
            first = await find_forgotten(self._desk, errand.caller, command, name)
        except DatabaseAway as error:
            raise ProblemError("unavailable", f"{error}", retryable=True) from error
        if first is not None:
            errand.headers.update(REPLAYED)
        if isinstance(first, Refusal):
            raise self._refused_before(errand, first)
        return first

    async def _require_own(self, account: AccountId, order_id: int | None) -> None:
        """Raises for a stranger's order what is said of one that never was, before anything is sent.

        Live and ended ones take the same way to that answer, through the tables, so that they take as long.
        """
        history = self._desk.history
        order = history.orders.get(order_id)
        is_own = order is not None and order.account == account
        if order_id is None or is_own or (order is None and order_id > history.newest_order_id):
            return  # one that the gateway has not seen yet may be on its way: the engine knows
        try:
            own = await self._desk.store.order(account, order_id)
        except DatabaseAway as error:
            raise behind(error) from error
        if own is None:
            raise ProblemError("unknown_order", domain.REFUSAL_WORDS["unknown_order"], 404)

    async def _answer_order(self, errand: Errand, command: domain.Placing, decision: Decision) -> Response:
        event = event_of(decision, command)
        order, fills, status = await self._placed(errand, command, decision)
        return self._reply(errand, order, fills, event.ts_ms, status)

    async def _placed(
        self, errand: Errand, command: domain.Placing, decision: Decision
    ) -> tuple[Order, Iterable[Fill], int]:
        """Returns the order with its trades and the status of the answer: 200 for what was decided before."""
        event = event_of(decision, command)
        if found := await self._first_result(command, event):
            first, fills = found
            errand.headers.update(REPLAYED)
            if isinstance(first, Refusal):
                raise self._refused_before(errand, first)
            return as_first_decided(first), fills, 200
        if event.type == "order_rejected":
            raise self._refusal(errand, event)
        return decision.orders[event.order_id], own_fills(decision, event.order_id), 201

    async def _first_result(self, command: domain.Placing, event: AnyEvent) -> Result | None:
        forgotten = getattr(event, "code", "") in ("gate_closed", "unlisted_contract")
        if event.type == "order_duplicate":
            return await self._seen_before(event)
        try:
            return await find_if_closed(self._desk, command) if forgotten else None
        except DatabaseAway as error:
            raise behind(error) from error

    async def _seen_before(self, event: OrderDuplicate, any_offset: bool = False) -> Result:
        try:
            return await find_first_result(self._desk, event, any_offset)
        except (domain.HistoryBehind, DatabaseAway) as error:
            raise behind(error) from error

    def _refused_before(self, errand: Errand, first: Refusal) -> ProblemError:
        extra = refused(first).model_dump(mode="json", exclude={"reason", "status"})
        return ProblemError(first.code, domain.refusal_words(first.code), 422, headers=errand.headers, extra=extra)

    def _reply(self, errand: Errand, order: Order, fills: Iterable[Fill], engine_ms: int, status: int) -> Response:
        views = self._desk.views
        body = views.order_reply(order, fills, errand.caller.account, timing(errand.gateway_in_ns, engine_ms))
        errand.headers["Location"] = f"/v1/orders/{order.order_id}"
        return Response(body, status, errand.headers, JSON)

    async def _answer_cancel(self, errand: Errand, command: domain.TraderCommand) -> Response:
        try:
            decision = await decide(self._desk, errand.caller, command)
        except domain.NoAnswer as error:
            return unknown(errand, command.command_id, None, str(error))
        event = event_of(decision, command)
        reply = CancelReply(
            canceled=event.canceled if event.type == "cancel_done" else 0,
            orders=self._canceled(errand, command, decision),
            timing=timing(errand.gateway_in_ns, event.ts_ms),
        )
        return Response(reply.model_dump_json(), 200, errand.headers, JSON)

    def _canceled(self, errand: Errand, command: domain.TraderCommand, decision: Decision) -> tuple[OrderView, ...]:
        """Returns the account's orders that a cancel ended."""
        event = event_of(decision, command)
        if event.type == "order_rejected":
            raise self._refusal(errand, event)
        ended = {done.order_id for done in decision.events if done.type == "order_canceled"}
        orders = [
            order
            for order in decision.orders.values()
            if order.account == command.account and order.status == "canceled" and _is_or_holds(order, ended, decision)
        ]
        return show_rows(orders, self._desk.views.order)

    def _refusal(self, errand: Errand, event: OrderRejected) -> ProblemError:
        order = self._desk.history.orders.get(event.order_id)
        is_foreign = order is not None and order.account != errand.caller.account
        code, status = ("unknown_order", 404) if is_foreign else domain.refusal_code(event)
        why = why_refused(event)
        extra = {
            "client_order_id": event.client_order_id,
            "order_id": event.order_id,
            "why_unfilled": why.model_dump() if why else None,
            "seq": event.seq,
            "timing": timing(errand.gateway_in_ns, event.ts_ms),
        }
        return ProblemError(code, domain.refusal_words(code), status, headers=errand.headers, extra=extra)


def signature_or_key(request: Request) -> str:
    """Returns what names an order that has no client id: the request's idempotency key, else its signature."""
    key = idempotency_key_of(request)
    return headers_of(request.scope)[SIGNATURE].decode("latin-1") if key is None else f"key:{key}"


def name_by(signature: str) -> ClientOrderId:
    """Returns the name of what a client named by no id."""
    return f"auto-{sha256(signature.encode()).hexdigest()[:32]}"


def order_number(text: str) -> int:
    """Reads an order id of a path."""
    number = read_number(text, COUNTER_MAX)
    if not number:
        raise ProblemError("not_found", "order ids are positive numbers")
    return number


def behind(error: Exception) -> ProblemError:
    """Returns the problem where the first result of a repeat cannot be shown now."""
    return ProblemError("unavailable", f"{error}", retryable=True, order_state="unknown")


def event_of(decision: Decision, command: domain.TraderCommand) -> AnyEvent:
    """Returns the event that answers a command."""
    return next(event for event in decision.events if getattr(event, "command_id", "") == command.command_id)


def own_fills(decision: Decision, order_id: int) -> list[Fill]:
    """Returns the trades of an order, or of a capacity order's asks."""
    own = {order.order_id for order in decision.orders.values() if order_id in (order.order_id, order.parent_id)}
    return [fill for fill in decision.fills if own & {fill.buyer_order_id, fill.seller_order_id}]


def _is_or_holds(order: Order, ended: set[int], decision: Decision) -> bool:
    """Says whether an order ended itself, or is the capacity order of asks that did; such asks are not listed."""
    if order.parent_id:
        return False
    return order.order_id in ended or any(decision.orders[ask].parent_id == order.order_id for ask in ended)


def formed(build: Callable[[], Made]) -> Made:
    """Makes a command of a form; terms that make none become a problem."""
    try:
        return build()
    except domain.BadForm as error:
        raise ProblemError(error.code, error.detail) from error


def read(validate, source):
    """Reads a form; what is wrong with it becomes a problem."""
    try:
        return validate(source)
    except ValidationError as error:
        raise ProblemError(domain.code_of(error), domain.words_of(error)) from error


def check_any_scope(caller: Caller, scopes: tuple[str, ...]) -> None:
    """Requires one of the scopes."""
    if caller.scopes.isdisjoint(scopes):
        check_scope(caller, scopes[0])


def unknown(errand: Errand, command_id: str, client_order_id: str | None, detail: str) -> Response:
    """Returns the answer where nobody knows what became of a command."""
    reply = UnknownReply(
        client_order_id=client_order_id,
        command_id=command_id,
        detail=detail,
        gateway_in=rfc3339(errand.gateway_in_ns),
        gateway_in_ns=str(errand.gateway_in_ns),
    )
    return Response(reply.model_dump_json(), 202, errand.headers, JSON)
