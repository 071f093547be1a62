"""Placing and canceling: a signed form becomes a command, and the answer is the engine's decision read from the log."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from fastapi import Request, Response
from pydantic import ValidationError

from schemas.events import AnyEvent, OrderRejected
from schemas.money import COUNTER_MAX
from schemas.orders import CancelOrder
from schemas.replies import CancelReply, OrderReply, UnknownReply, rfc3339
from schemas.rest import ORDER_FORM, AnyOrderForm, CancelForm
from schemas.signing import SIGNATURE_HEADER
from services.gateway import domain
from services.gateway.command_log import LogAway
from services.gateway.decisions import Decision
from services.gateway.desk import Desk, spend
from services.gateway.records import Fill, Order, Refusal
from services.gateway.replays import Result, find_first_result, find_if_closed
from services.gateway.views import as_first_decided, fills_of, refused, timing
from services.kit.auth import Caller, check_scope
from services.kit.http import ProblemError
from services.kit.store import DatabaseAway

JSON = "application/json"


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
        caller = self._desk.caller_of(request, body)
        errand = Errand(caller, gateway_in_ns, spend(self._desk.orders, caller))
        form = _read(ORDER_FORM.validate_json, body)
        _check_any_scope(caller, domain.scopes_for(form))
        command = self._command_of(form, caller, request.headers[SIGNATURE_HEADER])
        try:
            decision = await self._decide(command)
        except domain.NoAnswer as error:
            return _unknown(errand, command.command_id, command.client_order_id, str(error))
        return await self._answer_order(errand, command, decision, bool(form.client_order_id))

    async def cancel(self, request: Request) -> Response:
        """Cancels one order by our id."""
        errand, _ = await self._cancel_errand(request)
        order_id = request.path_params["order_id"]
        if not order_id.isdecimal() or not 0 < int(order_id) <= COUNTER_MAX:
            raise ProblemError("not_found", "order ids are positive numbers")
        return await self._cancel(errand, order_id=int(order_id), client_order_id=None)

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
        form = _read(CancelForm.model_validate_json, body or b"{}")
        command = domain.mass_cancel_of(form, errand.caller.account, self._desk.next_command_id())
        return await self._answer_cancel(errand, command)

    async def _cancel(self, errand: Errand, **named) -> Response:
        fields = {"command_id": self._desk.next_command_id(), "account": errand.caller.account} | named
        return await self._answer_cancel(errand, _read(lambda values: CancelOrder(**values), fields))

    async def _cancel_errand(self, request: Request) -> tuple[Errand, bytes]:
        gateway_in_ns, body = time.time_ns(), await request.body()
        caller = self._desk.caller_of(request, body)
        headers = spend(self._desk.cancels, caller)
        _check_any_scope(caller, ("trade", "operate"))
        return Errand(caller, gateway_in_ns, headers), body

    def _command_of(self, form: AnyOrderForm, caller: Caller, signature: str) -> domain.Placing:
        # A nameless order is named by its signature: the same request twice is the same order, even after a restart.
        fallback_id = f"auto-{sha256(signature.encode()).hexdigest()[:32]}"
        try:
            command = domain.command_of(form, caller.account, self._desk.next_command_id(), fallback_id)
        except domain.BadForm as error:
            raise ProblemError(error.code, error.detail) from error
        if caller.order_limit_micros is not None:
            product = domain.product_in(command)
            notional_micros = domain.notional_micros(command, self._desk.history.products.get(product))
            if notional_micros > caller.order_limit_micros:
                raise ProblemError("order_limit_exceeded", "the order is larger than the key's limit")
        return command

    async def _decide(self, command: domain.TraderCommand) -> Decision:
        command_id, decisions, log = command.command_id, self._desk.decisions, self._desk.log
        decision = decisions.expect(command_id)
        is_sent = False
        try:
            async with asyncio.timeout(self._desk.settings.answer_timeout_s):
                await log.append(
                    command.canonical(),
                    lambda offset: decisions.sent(command_id, offset),
                    lambda error: decisions.lost(command_id, domain.NoAnswer(f"the log did not confirm: {error}")),
                )
                is_sent = True
                return await decision
        except TimeoutError as error:
            raise domain.NoAnswer("the engine did not answer in time") from error
        except LogAway as error:
            raise _unavailable(f"the log does not answer, nothing was sent: {error}") from error
        except domain.RecordRefused as error:
            raise _unavailable(f"the engine takes no commands yet: {error}") from error
        finally:
            decisions.abandon(command_id)
            if is_sent:
                log.settled()

    async def _answer_order(
        self, errand: Errand, command: domain.Placing, decision: Decision, has_client_id: bool
    ) -> Response:
        event = next(event for event in decision.events if getattr(event, "command_id", "") == command.command_id)
        if found := await self._first_result(command, event, has_client_id):
            return self._replay(errand, *found, event.ts_ms)
        if event.type == "order_rejected":
            raise self._refusal(errand, event)
        return self._reply(errand, decision.orders[event.order_id], _own_fills(decision, event.order_id), event.ts_ms)

    async def _first_result(self, command: domain.Placing, event: AnyEvent, has_client_id: bool) -> Result | None:
        forgotten = has_client_id and getattr(event, "code", "") in ("gate_closed", "unlisted_contract")
        try:
            if event.type == "order_duplicate":
                return await find_first_result(self._desk, event)
            return await find_if_closed(self._desk, command) if forgotten else None
        except (domain.HistoryBehind, DatabaseAway) as error:
            raise ProblemError("unavailable", f"{error}", retryable=True, order_state="unknown") from error

    def _replay(self, errand: Errand, first: Order | Refusal, fills: Iterable[Fill], engine_ms: int) -> Response:
        errand.headers["Idempotent-Replayed"] = "true"
        if isinstance(first, Refusal):
            extra = refused(first).model_dump(mode="json", exclude={"reason", "status"})
            code, words = first.code, domain.REFUSAL_WORDS.get(first.code, first.code)
            raise ProblemError(code, words, 422, headers=errand.headers, extra=extra)
        return self._reply(errand, as_first_decided(first), fills, engine_ms, 200)

    def _reply(
        self, errand: Errand, order: Order, fills: Iterable[Fill], engine_ms: int, status: int = 201
    ) -> Response:
        views = self._desk.views
        reply = OrderReply(
            order=views.order(order),
            fills=fills_of(views, fills, errand.caller.account),
            timing=timing(errand.gateway_in_ns, engine_ms),
        )
        errand.headers["Location"] = f"/v1/orders/{order.order_id}"
        return Response(reply.model_dump_json(), status, errand.headers, JSON)

    async def _answer_cancel(self, errand: Errand, command: domain.TraderCommand) -> Response:
        try:
            decision = await self._decide(command)
        except domain.NoAnswer as error:
            return _unknown(errand, command.command_id, None, str(error))
        event = next(event for event in decision.events if getattr(event, "command_id", "") == command.command_id)
        if event.type == "order_rejected":
            raise self._refusal(errand, event)
        ended = {done.order_id for done in decision.events if done.type == "order_canceled"}
        orders = [
            order
            for order in decision.orders.values()
            if order.account == command.account and order.status == "canceled" and _is_or_holds(order, ended, decision)
        ]
        reply = CancelReply(
            canceled=event.canceled,
            orders=tuple(map(self._desk.views.order, orders)),
            timing=timing(errand.gateway_in_ns, event.ts_ms),
        )
        return Response(reply.model_dump_json(), 200, errand.headers, JSON)

    def _refusal(self, errand: Errand, event: OrderRejected) -> ProblemError:
        code, status = domain.refusal_code(event)
        why = event.why_unfilled.model_dump() if event.why_unfilled else None
        extra = {
            "client_order_id": event.client_order_id,
            "order_id": event.order_id,
            "why_unfilled": why,
            "seq": event.seq,
            "timing": timing(errand.gateway_in_ns, event.ts_ms),
        }
        return ProblemError(code, domain.refusal_words(event), status, headers=errand.headers, extra=extra)


def _own_fills(decision: Decision, order_id: int) -> list[Fill]:
    own = {order.order_id for order in decision.orders.values() if order_id in (order.order_id, order.parent_id)}
    return [fill for fill in decision.fills if own & {fill.buyer_order_id, fill.seller_order_id}]


def _is_or_holds(order: Order, ended: set[int], decision: Decision) -> bool:
    """Says whether an order ended itself, or is the capacity order of asks that did; such asks are not listed."""
    if order.parent_id:
        return False
    return order.order_id in ended or any(decision.orders[ask].parent_id == order.order_id for ask in ended)


def _read(validate, source):
    try:
        return validate(source)
    except ValidationError as error:
        raise ProblemError(domain.code_of(error), domain.words_of(error)) from error


def _check_any_scope(caller: Caller, scopes: tuple[str, ...]) -> None:
    if not any(scope in caller.scopes for scope in scopes):
        check_scope(caller, scopes[0])


def _unavailable(detail: str) -> ProblemError:
    return ProblemError("unavailable", detail, retryable=True, headers={"Retry-After": "1"})


def _unknown(errand: Errand, command_id: str, client_order_id: str | None, detail: str) -> Response:
    reply = UnknownReply(
        client_order_id=client_order_id,
        command_id=command_id,
        detail=detail,
        gateway_in=rfc3339(errand.gateway_in_ns),
        gateway_in_ns=str(errand.gateway_in_ns),
    )
    return Response(reply.model_dump_json(), 202, errand.headers, JSON)
