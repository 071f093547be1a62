"""Capacity orders after they were taken: repriced as a whole, withdrawn for a part of their window."""

from fastapi import Request, Response

from schemas.orders import RepriceCapacity, WithdrawCapacity
from schemas.replies import RepriceReply
from schemas.rest import RepriceForm, WithdrawForm
from services.gateway import domain
from services.gateway.commands.submit import decide
from services.gateway.projections.views import fills_of, timing
from services.gateway.routes.orders import JSON, Errand, check_any_scope, event_of, formed, own_fills, read, unknown
from services.gateway.routes.protection import Protections


class CapacityChanges(Protections):
    """The routes of order entry, with those that only an order of many periods needs."""

    async def reprice(self, request: Request) -> Response:
        """Gives all asks of a capacity order other prices."""
        errand, body = await self._trade_errand(request)
        check_any_scope(errand.caller, ("operate",))
        form = read(RepriceForm.model_validate_json, body)
        await self._require_own(errand.caller.account, form.order_id)
        command_id = self._desk.next_command_id()
        command = formed(lambda: domain.reprice_of(form, errand.caller.account, command_id))
        return await self._once(errand, request, body, lambda: self._answer_reprice(errand, command))

    async def _answer_reprice(self, errand: Errand, command: RepriceCapacity) -> Response:
        try:
            decision = await decide(self._desk, errand.caller, command)
        except domain.NoAnswer as error:
            return unknown(errand, command.command_id, None, str(error))
        event = event_of(decision, command)
        if event.type == "order_rejected":
            raise self._refusal(errand, event)
        views = self._desk.views
        reply = RepriceReply(
            order=views.order(decision.orders[event.order_id]),
            changed=event.changed,
            fills=fills_of(views, own_fills(decision, event.order_id), errand.caller.account),
            timing=timing(errand.gateway_in_ns, event.ts_ms),
        )
        return Response(reply.model_dump_json(), 200, errand.headers, JSON)

    async def withdraw(self, request: Request) -> Response:
        """Cancels the asks of an order that deliver in a window."""
        errand, body = await self._cancel_errand(request)
        form = read(WithdrawForm.model_validate_json, body)
        await self._require_own(errand.caller.account, form.order_id)
        command = formed(lambda: self._withdrawal_of(form, errand.caller.account))
        return await self._once(errand, request, body, lambda: self._answer_cancel(errand, command))

    def _withdrawal_of(self, form: WithdrawForm, account: str) -> WithdrawCapacity:
        return domain.withdrawal_of(form, account, self._desk.next_command_id())
