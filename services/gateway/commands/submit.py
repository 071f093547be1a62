"""The one way of a command to the engine: judged, appended to the log, and waited for until the engine has decided."""

import asyncio

from services.gateway import domain
from services.gateway.commands.log import LogAway
from services.gateway.commands.pending import Decision
from services.gateway.context import GatewayContext
from services.kit.auth import Caller
from services.kit.http import ProblemError


async def submit_and_wait(gateway: GatewayContext, caller: Caller, command: domain.TraderCommand) -> Decision:
    """Return what the engine decided. Raises NoAnswer where nobody knows, `unavailable` where nothing was done, and
    `order_limit_exceeded` before anything is sent.
    """
    command = gateway.order_limits.judged(caller, command)
    command_id, pending, log = command.command_id, gateway.pending, gateway.log
    decision = pending.expect(command_id)
    is_sent = False
    try:
        async with asyncio.timeout(gateway.settings.answer_timeout_s):
            await log.append(
                command.canonical(),
                lambda offset: pending.sent(command_id, offset),
                lambda error: pending.lost(command_id, domain.NoAnswer(f"the log did not confirm: {error}")),
            )
            is_sent = True
            return await decision
    except TimeoutError as error:
        raise domain.NoAnswer("the engine did not answer in time") from error
    except LogAway as error:
        raise _unavailable(f"the log does not answer, nothing was sent: {error}") from error
    except domain.RecordRejected as error:
        raise _unavailable(f"the engine takes no commands yet: {error}") from error
    finally:
        pending.abandon(command_id)
        if is_sent:
            log.settled()


def _unavailable(detail: str) -> ProblemError:
    return ProblemError("unavailable", detail, retryable=True, headers={"Retry-After": "1"})
