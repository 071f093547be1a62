"""Dead-man timers: everything of an account is cancelled when one of its sessions has been silent for too long."""

from heapq import heappop

from matching_engine.rules import cancels, deadlines
from matching_engine.rules.market import Market
from matching_engine.rules.refusals import require
from schemas.events import CancelTimerFired, CancelTimerSet
from schemas.orders import CancelAllAfter

SESSIONS_MAX = 64


def cancel_all_after(market: Market, command: CancelAllAfter) -> None:
    """Sets the timer of one session, later or sooner than before; 0 disarms it. [M-23]"""
    sessions = market.state.cancel_timers.setdefault(command.account, {})
    due_ms = None
    if command.timeout_ms:
        require(command.session in sessions or len(sessions) < SESSIONS_MAX, "too_many_sessions")
        due_ms = market.now_ms + command.timeout_ms
        if command.session not in sessions or due_ms < sessions[command.session]:
            market.at(due_ms, deadlines.SILENCE, f"{command.account}|{command.session}")
        sessions[command.session] = due_ms
    else:
        disarm(market, command.account, command.session)
    market.emit(
        CancelTimerSet,
        command_id=command.command_id,
        account=command.account,
        session=command.session,
        due_ms=due_ms,
    )


def disarm(market: Market, account: str, session: str) -> None:
    sessions = market.state.cancel_timers[account]
    sessions.pop(session, None)
    if not sessions:
        del market.state.cancel_timers[account]


def cancel_all(market: Market, name: str) -> None:
    """A timer ran out. One that was set later meanwhile is looked at again then; one that was disarmed is nothing."""
    drop_repeats(market, name)
    account, _, session = name.partition("|")
    due_ms = market.state.cancel_timers.get(account, {}).get(session)
    if due_ms is None:
        return
    if due_ms > market.reached_ms:
        market.at(due_ms, deadlines.SILENCE, name)
        return
    disarm(market, account, session)
    live = cancels.orders_of(market, account)
    for each in live:
        cancels.cancel_any(market, each, "disconnect")
    market.emit(CancelTimerFired, account=account, session=session, canceled=len(live))


def drop_repeats(market: Market, name: str) -> None:
    """Take out what would only do the same again: a session armed and disarmed often left a timer each time."""
    waiting = market.state.timers
    while waiting and waiting[0][1:] == (deadlines.SILENCE, name) and waiting[0][0] <= market.now_ms:
        heappop(waiting)
