"""Repeats of an order under the same client id: finds what the first one came to, in memory or in the tables."""

from collections.abc import Iterable

from schemas.events import OrderDuplicate
from services.gateway.desk import Desk
from services.gateway.domain import HistoryBehind, Placing
from services.gateway.records import Fill, Order, Refusal, asks_the_same
from services.kit.http import ProblemError

Result = tuple[Order | Refusal, Iterable[Fill]]


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


async def find_if_closed(desk: Desk, command: Placing) -> Result | None:
    """Returns an order that was taken under this client id before its gate closed, when the engine has forgotten it."""
    first = desk.history.order_of_client(command.account, command.client_order_id)
    if not isinstance(first, Order):
        first = await desk.store.order_by_client_id(command.account, command.client_order_id)
    if not isinstance(first, Order):
        return None
    if not asks_the_same(command.model_dump(exclude={"command_id"}), first):
        raise ProblemError("client_order_id_conflict", "this client id names another order of the account", 409)
    return first, await _first_fills(desk, first)


async def _first_fills(desk: Desk, first: Order | Refusal) -> list[Fill]:
    if isinstance(first, Refusal) or not first.first_filled_qty:
        return []
    await desk.recorder.reach(desk.history.seq)
    return await desk.store.first_fills(first)
