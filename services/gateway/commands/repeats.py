"""Repeats under a client's id: finds what the first one came to, in memory, in the tables, or in the log."""

from collections.abc import Iterable

from schemas.commands import Command
from schemas.events import OrderDuplicate
from schemas.orders import ReplaceOrder
from services.gateway.commands.log import LogAway
from services.gateway.context import GatewayContext
from services.gateway.domain import HistoryBehind, Placing, rejection_words
from services.gateway.projections.records import Fill, Order, RejectedOrder, Replacement, asks_the_same, binds
from services.kit.auth import Caller
from services.kit.http import ProblemError

Result = tuple[Order | RejectedOrder, Iterable[Fill]]
CONFLICT = "client_order_id_conflict"


async def find_first_result(gateway: GatewayContext, event: OrderDuplicate, any_offset: bool = False) -> Result:
    """Return what the engine says was decided before; with `any_offset` the order may be older than the command.

    Raises HistoryBehind or DatabaseAway if it cannot be shown.
    """
    if event.order_id is not None:
        first = gateway.history.orders.get(event.order_id)
    else:
        first = gateway.history.refusals.get((event.account, event.client_order_id))
    same = any_offset and event.order_id is not None
    if first is None or not (same or first.in_offset == event.first_offset):
        await gateway.recorder.reach(event.seq)
        first = await gateway.store.first_result(event)
    if first is None:
        raise HistoryBehind(f"the tables lack what command {event.first_offset} came to")
    return first, await _first_fills(gateway, first)


async def find_replacement(gateway: GatewayContext, event: OrderDuplicate) -> Replacement | None:
    """Return the replace that the engine says was carried out before; None for one from before they were kept."""
    key = (event.account, event.client_order_id)
    if found := gateway.history.replacements.get(key):
        return found
    await gateway.recorder.reach(event.seq)
    return await gateway.store.replacement(*key)


async def fills_of_replacement(gateway: GatewayContext, first: Replacement) -> list[Fill]:
    """Return the trades that a replace itself made."""
    if not first.left_as.filled_qty:
        return []
    await gateway.recorder.reach(gateway.history.seq)
    return await gateway.store.fills_of_command(first.in_offset, first.order_id)


async def find_named(gateway: GatewayContext, account: str, name: str) -> Order | Replacement | RejectedOrder | None:
    """Return what an account's id names: an order, or else a replace, or else what was refused under it."""
    key, history = (account, name), gateway.history
    if order_id := history.by_client.get(key):
        return history.orders[order_id]
    if replacement := history.replacements.get(key):
        return replacement
    stored, rejected = await gateway.store.named(account, name), history.refusals.get(key)
    return rejected if stored is None or (rejected and isinstance(stored, RejectedOrder)) else stored


async def find_forgotten(
    gateway: GatewayContext, caller: Caller, command: Placing | ReplaceOrder, name: str
) -> RejectedOrder | Replacement | None:
    """Return what the same command came to before, however long ago: the engine forgets it with its gate.

    An order is not returned: the engine, or `find_if_closed`, says that it stands. Raises `client_order_id_conflict`
    where the name is another command's, `unavailable` where the log does not say, and DatabaseAway.
    """
    if not gateway.history.used_names.may_hold(command.account, name):
        return None
    first = await find_named(gateway, command.account, name)
    if first is None or (isinstance(first, RejectedOrder) and not binds(first)):
        return None
    if isinstance(first, Order):
        is_same = not isinstance(command, ReplaceOrder) and asks_the_same(_terms(command), first)
    else:
        is_same = await _asked_the_same(gateway, caller, command, name, first.in_offset)
    if not is_same:
        raise ProblemError(CONFLICT, rejection_words(CONFLICT), 409)
    return None if isinstance(first, Order) else first


async def find_if_closed(gateway: GatewayContext, command: Placing) -> Result | None:
    """Return an order that was taken under this client id before its gate closed, when the engine has forgotten it."""
    name = command.client_order_id
    if not gateway.history.used_names.may_hold(command.account, name):
        return None
    first = await find_named(gateway, command.account, name)
    if not isinstance(first, Order):
        return None
    if not asks_the_same(_terms(command), first):
        raise ProblemError(CONFLICT, rejection_words(CONFLICT), 409)
    return first, await _first_fills(gateway, first)


async def _asked_the_same(
    gateway: GatewayContext, caller: Caller, command: Placing | ReplaceOrder, name: str, offset: int
) -> bool:
    gateway.order_budget.owe(caller.key_id, gateway.settings.log_lookup_requests)
    try:
        first = await gateway.past_commands.named(offset, name)
    except LogAway as error:
        raise ProblemError("unavailable", f"{error}", retryable=True) from error
    return first is not None and _is_same(command, first)


def _is_same(command: Placing | ReplaceOrder, first: Command) -> bool:
    """Say whether two commands ask for the same. What a replace leaves open, a key's limit may have filled in."""
    asked, before = _terms(command), _terms(first)
    if isinstance(command, ReplaceOrder) and isinstance(first, ReplaceOrder):
        asked = {name: before[name] if value is None else value for name, value in asked.items()}
    return asked == before


def _terms(command: Command) -> dict:
    return command.model_dump(exclude={"command_id"})


async def _first_fills(gateway: GatewayContext, first: Order | RejectedOrder) -> list[Fill]:
    if isinstance(first, RejectedOrder) or not first.first_filled_qty:
        return []
    await gateway.recorder.reach(gateway.history.seq)
    return await gateway.store.fills_of_command(first.in_offset, first.order_id)
