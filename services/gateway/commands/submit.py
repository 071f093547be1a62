"""Sends a command to the log and waits for the engine's decision; whatever keeps it from coming is told apart."""

import asyncio

from services.gateway import domain
from services.gateway.commands.log import LogAway
from services.gateway.commands.pending import Decision
from services.gateway.context import Desk
from services.kit.auth import Caller
from services.kit.http import ProblemError


async def decide(desk: Desk, caller: Caller, command: domain.TraderCommand) -> Decision:
    """Returns what the engine decided. Raises NoAnswer where nobody knows, `unavailable` where nothing was done, and
    `order_limit_exceeded` before anything is sent.
    """
    command = desk.order_limits.judged(caller, command)
    command_id, decisions, log = command.command_id, desk.decisions, desk.log
    decision = decisions.expect(command_id)
    is_sent = False
    try:
        async with asyncio.timeout(desk.settings.answer_timeout_s):
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


def _unavailable(detail: str) -> ProblemError:
    return ProblemError("unavailable", detail, retryable=True, headers={"Retry-After": "1"})
