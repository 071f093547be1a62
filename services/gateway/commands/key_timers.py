"""Dead-man timers end with the key that set them: what a thief has armed cancels nothing once his key is revoked."""

import asyncio

from schemas.orders import CancelAllAfter
from services.gateway.commands.submit import submit_and_wait
from services.gateway.context import GatewayContext
from services.gateway.domain import NoAnswer
from services.kit.auth import Caller
from services.kit.http import ProblemError

RETRY_S = 0.5


class KeyTimers:
    """Which key set each timer last. Kept in memory: a gateway that starts anew leaves the timers of before to run."""

    def __init__(self, gateway: GatewayContext):
        self._gateway = gateway
        self._owners: dict[tuple[str, str], str] = {}
        self._watches: dict[str, asyncio.Task] = {}

    def note(self, caller: Caller, session: str, timeout_ms: int) -> None:
        """Take note of a timer that a key has set, or disarmed with 0."""
        if timeout_ms == 0:
            self._owners.pop((caller.account, session), None)
            return
        self._owners[(caller.account, session)] = caller.key_id
        if caller.key_id not in self._watches:
            self._watches[caller.key_id] = asyncio.create_task(self._end_with(caller))

    async def _end_with(self, caller: Caller) -> None:
        await self._gateway.directory.wait_for_end(caller.key_id)
        del self._watches[caller.key_id]
        for account, session in [each for each, key_id in self._owners.items() if key_id == caller.key_id]:
            del self._owners[(account, session)]
            await self._disarm(caller, session)

    async def _disarm(self, caller: Caller, session: str) -> None:
        while True:
            command_id = self._gateway.next_command_id()
            command = CancelAllAfter(command_id=command_id, account=caller.account, session=session, timeout_ms=0)
            try:
                await submit_and_wait(self._gateway, caller, command)
                return
            except (NoAnswer, ProblemError):
                await asyncio.sleep(RETRY_S)
