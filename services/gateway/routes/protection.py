"""A market maker's protection, set by its own account."""

from fastapi import Request, Response

from schemas.orders import SetProtection
from schemas.replies import ProtectionReply
from schemas.rest import ProtectionForm
from services.gateway import domain
from services.gateway.commands.submit import decide
from services.gateway.projections.views import timing
from services.gateway.routes.changes import OrderChanges
from services.gateway.routes.orders import JSON, event_of, read, unknown


class Protections(OrderChanges):
    """The routes of order entry and of what guards it."""

    async def protect(self, request: Request) -> Response:
        """Sets, changes or ends the account's protection in a product."""
        errand, body = await self._cancel_errand(request)
        form = read(ProtectionForm.model_validate_json, body)
        command_id = self._desk.next_command_id()
        command = SetProtection(command_id=command_id, account=errand.caller.account, **form.model_dump())
        try:
            decision = await decide(self._desk, errand.caller, command)
        except domain.NoAnswer as error:
            return unknown(errand, command.command_id, None, str(error))
        event = event_of(decision, command)
        if event.type == "order_rejected":
            raise self._refusal(errand, event)
        reply = ProtectionReply(**form.model_dump(), timing=timing(errand.gateway_in_ns, event.ts_ms))
        return Response(reply.model_dump_json(), 200, errand.headers, JSON)
