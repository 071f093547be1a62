"""Repeats under a client's id: finds what the first one came to, in memory, in the tables, or in the log."""

from collections.abc import Iterable

from schemas.commands import Command
from schemas.events import OrderDuplicate
from schemas.orders import ReplaceOrder
from services.gateway.commands.log import LogAway
from services.gateway.context import Desk
from services.gateway.domain import HistoryBehind, Placing, refusal_words
from services.gateway.projections.records import Fill, Order, Refusal, Replacement, asks_the_same, binds
from services.kit.auth import Caller
from services.kit.http import ProblemError

Result = tuple[Order | Refusal, Iterable[Fill]]
CONFLICT = "client_order_id_conflict"


async def find_first_result(desk: Desk, event: OrderDuplicate, any_offset: bool = False) -> Result:
    """Returns what the engine says was decided before; with `any_offset` the order may be older than the command.

    Raises HistoryBehind or DatabaseAway if it cannot be shown.
    """
    if event.order_id is not None:
        first = desk.history.orders.get(event.order_id)
    else:
        first = desk.history.refusals.get((event.account, event.client_order_id))
    same = any_offset and event.order_id is not None
    if first is None or not (same or first.in_offset == event.first_offset):
        await desk.recorder.reach(event.seq)
        first = await desk.store.first_result(event)
    if first is None:
        raise HistoryBehind(f"the tables lack what command {event.first_offset} came to")
    return first, await _first_fills(desk, first)


async def find_replacement(desk: Desk, event: OrderDuplicate) -> Replacement | None:
    """Returns the replace that the engine says was carried out before; None for one from before they were kept."""
    key = (event.account, event.client_order_id)
    if found := desk.history.replacements.get(key):
        return found
    await desk.recorder.reach(event.seq)
    return await desk.store.replacement(*key)


async def fills_of_replacement(desk: Desk, first: Replacement) -> list[Fill]:
    """Returns the trades that a replace itself made."""
    if not first.left_as.filled_qty:
        return []
    await desk.recorder.reach(desk.history.seq)
    return await desk.store.fills_of_command(first.in_offset, first.order_id)


async def find_named(desk: Desk, account: str, name: str) -> Order | Replacement | Refusal | None:
    """Returns what an account's id names: an order, or else a replace, or else what was refused under it."""
    key, history = (account, name), desk.history
    if order_id := history.by_client.get(key):
        return history.orders[order_id]
    if replacement := history.replacements.get(key):
        return replacement
    stored, refusal = await desk.store.named(account, name), history.refusals.get(key)
    return refusal if stored is None or (refusal and isinstance(stored, Refusal)) else stored


async def find_forgotten(
    desk: Desk, caller: Caller, command: Placing | ReplaceOrder, name: str
) -> Refusal | Replacement | None:
    """Returns what the same command came to before, however long ago: the engine forgets it with its gate.

    An order is not returned: the engine, or `find_if_closed`, says that it stands. Raises `client_order_id_conflict`
    where the name is another command's, `unavailable` where the log does not say, and DatabaseAway.
    """
    if not desk.history.used_names.may_hold(command.account, name):
        return None
    first = await find_named(desk, command.account, name)
    if first is None or (isinstance(first, Refusal) and not binds(first)):
        return None
    if isinstance(first, Order):
        is_same = not isinstance(command, ReplaceOrder) and asks_the_same(_terms(command), first)
    else:
        is_same = await _asked_the_same(desk, caller, command, name, first.in_offset)
    if not is_same:
        raise ProblemError(CONFLICT, refusal_words(CONFLICT), 409)
    return None if isinstance(first, Order) else first


async def find_if_closed(desk: Desk, command: Placing) -> Result | None:
    """Returns an order that was taken under this client id before its gate closed, when the engine has forgotten it."""
    name = command.client_order_id
    if not desk.history.used_names.may_hold(command.account, name):
        return None
    first = await find_named(desk, command.account, name)
    if not isinstance(first, Order):
        return None
    if not asks_the_same(_terms(command), first):
        raise ProblemError(CONFLICT, refusal_words(CONFLICT), 409)
    return first, await _first_fills(desk, first)


async def _asked_the_same(desk: Desk, caller: Caller, command: Placing | ReplaceOrder, name: str, offset: int) -> bool:
    desk.orders.owe(caller.key_id, desk.settings.log_lookup_requests)
    try:
        first = await desk.past_commands.named(offset, name)
    except LogAway as error:
        raise ProblemError("unavailable", f"{error}", retryable=True) from error
    return first is not None and _is_same(command, first)


def _is_same(command: Placing | ReplaceOrder, first: Command) -> bool:
    """Says whether two commands ask for the same. What a replace leaves open, a key's limit may have filled in."""
    asked, before = _terms(command), _terms(first)
    if isinstance(command, ReplaceOrder) and isinstance(first, ReplaceOrder):
        asked = {name: before[name] if value is None else value for name, value in asked.items()}
    return asked == before


def _terms(command: Command) -> dict:
    return command.model_dump(exclude={"command_id"})


async def _first_fills(desk: Desk, first: Order | Refusal) -> list[Fill]:
    if isinstance(first, Refusal) or not first.first_filled_qty:
        return []
    await desk.recorder.reach(desk.history.seq)
    return await desk.store.fills_of_command(first.in_offset, first.order_id)
