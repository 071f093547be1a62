"""The dead-man timer of a private session: the engine holds it, the gateway puts it off while the connection lives."""

import asyncio

from schemas.orders import CancelAllAfter
from services.gateway.commands.submit import submit_and_wait
from services.gateway.context import GatewayContext
from services.gateway.domain import NoAnswer
from services.gateway.projections.feeds import Session
from services.kit.auth import Caller
from services.kit.http import ProblemError
from services.kit.process import set_within

EXTENSIONS_PER_TIMEOUT = 3
RETRY_S = 0.5


class DeadMan:
    """Once asked for, the timer is put off three times in its span. Whatever ends the gateway or the connection leaves
    it to run out; a session of the same name that connects in time takes it over.
    """

    def __init__(self, gateway: GatewayContext, session: Session, caller: Caller):
        self._gateway, self._session, self._caller = gateway, session, caller
        self._name = f"ws-{gateway.next_command_id()}"
        self._timeout_s = 0
        self._wanted = asyncio.Event()

    def arm(self, timeout_s: int, name: str | None) -> None:
        """Ask for the timer, or for another span of it."""
        self._timeout_s, self._name = timeout_s, name or self._name
        self._wanted.set()

    async def disarm(self) -> None:
        """A polite end: nothing is cancelled."""
        if self._timeout_s:
            self._timeout_s = 0
            await self._send()

    async def run(self) -> None:
        """Put the timer off for ever. What keeps the log from answering is what the timer is for: it may run out."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            is_announced = False
            while self._timeout_s and not self._wanted.is_set():
                done = await self._send()
                if done is not None and not is_announced:
                    self._session.put(self._gateway.history.seq, done)
                    is_announced = True
                pause_s = self._timeout_s / EXTENSIONS_PER_TIMEOUT if done is not None else RETRY_S
                await set_within(self._wanted, pause_s)

    async def _send(self) -> str | None:
        """Send the command; return the message that says what came of it, None where no answer came."""
        command = CancelAllAfter(
            command_id=self._gateway.next_command_id(),
            account=self._session.account,
            session=self._name,
            timeout_ms=self._timeout_s * 1000,
        )
        self._gateway.note_timer(self._caller, self._name, command.timeout_ms)
        try:
            decision = await submit_and_wait(self._gateway, self._caller, command)
        except (NoAnswer, ProblemError):
            return None
        event = decision.events[-1]
        if event.type == "order_rejected":
            return f'{{"op":"error","code":"{event.code}","detail":"the timer is not set"}}'
        due_ns = event.due_ms * 1_000_000 if event.due_ms else 0
        return f'{{"op":"cancel_on_disconnect","session":"{self._name}","due_ns":"{due_ns}","seq":{event.seq}}}'
