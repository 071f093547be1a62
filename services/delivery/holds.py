"""Holds: what freezes a node's level. They take no bond, pull no ask, and quarantine nobody."""

from schemas.delivery import LevelHold, LevelHoldChanged
from services.delivery.store import Store


async def raise_hold(store: Store, node_id: str, reason: str, detail: str, now_ms: int) -> bool:
    """Freezes a node's level for a reason; says whether that is news."""
    if await store.value("raise_hold", node_id, reason, detail, now_ms) is None:
        return False
    await store.publish(LevelHoldChanged, node_id, now_ms, reason=reason, held=True, detail=detail)
    return True


async def lift_hold(store: Store, node_id: str, reason: str, now_ms: int) -> bool:
    """Takes a reason away; says whether it held."""
    detail = await store.value("lift_hold", node_id, reason, now_ms)
    if detail is None:
        return False
    await store.publish(LevelHoldChanged, node_id, now_ms, reason=reason, held=False, detail=detail)
    return True


async def open_holds(store: Store, node_id: str) -> tuple[LevelHold, ...]:
    """Returns what freezes a node's level now, the oldest first."""
    return tuple(LevelHold(**row) for row in await store.rows("open_holds", node_id))


async def restore_hold(store: Store, event: LevelHoldChanged) -> None:
    """Writes again what an event told, where the table has it not."""
    if event.held:
        await store.value("raise_hold", event.node, event.reason, event.detail, event.ts_ms)
    else:
        await store.value("lift_hold", event.node, event.reason, event.ts_ms)
