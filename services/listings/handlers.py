"""What the engine's events mean for listings: locked, funded, released, refunded, refused; deadlines by log time."""

from collections.abc import Awaitable, Callable

from schemas.delivery import DeliveryEvent, HardwareInspected
from schemas.events import (
    AnyEvent,
    CommandRejected,
    EscrowOpened,
    EscrowRefunded,
    EscrowReleased,
    HardwareLocked,
    HardwareUnlocked,
)
from schemas.venue import UnlockHardware
from services.kit.events import EventBatch
from services.kit.store import Pool, Position
from services.listings.domain import next_state
from services.listings.sales import release
from services.listings.store import Listing, Store, event_transaction, transaction

SOURCE = "listings"


async def on_locked(store: Store, event: HardwareLocked) -> None:
    """The GPUs left the rental market: the listing is open."""
    await _move(store, await store.lock(event.listing_id), "locked", event.ts_ms, note="")


async def on_unlocked(store: Store, event: HardwareUnlocked) -> None:
    """The GPUs are for rent again."""
    await _move(store, await store.lock(event.listing_id), "unlocked", event.ts_ms)


async def on_funded(store: Store, event: EscrowOpened) -> None:
    """The buyer's money is held: the seller may ship."""
    await _move(store, await store.lock_by_escrow(event.escrow_id), "funded", event.ts_ms, note="")


async def on_released(store: Store, event: EscrowReleased) -> None:
    """The seller was paid."""
    await _move(store, await store.lock_by_escrow(event.escrow_id), "released", event.ts_ms)


async def on_refunded(store: Store, event: EscrowRefunded) -> None:
    """The buyer has the money back; the GPUs return to the rental market."""
    listing = await _move(store, await store.lock_by_escrow(event.escrow_id), "refunded", event.ts_ms)
    await store.command(listing, "unlock", UnlockHardware(listing_id=listing.listing_id))


async def on_rejected(store: Store, event: CommandRejected) -> None:
    """The engine refused a step of ours: a lock ends the listing, a failed payment opens it again."""
    request = await store.requested(event.number) if event.source == SOURCE else None
    if request is None:
        return
    listing_id, step = request
    listing = await store.lock(listing_id)
    if step == "lock":
        await _move(store, listing, "lock_refused", event.ts_ms, note=event.code)
    elif step == "fund":
        await _move(store, listing, "funding_refused", event.ts_ms, note=event.code, buyer=None, escrow_id=None)
    else:
        await store.change(listing, event.ts_ms, note=event.code)


async def release_overdue(store: Store, ts_ms: int) -> None:
    """A buyer who says nothing until the end of the inspection period has accepted."""
    for listing_id in await store.overdue(ts_ms):
        listing = await store.change(await store.lock(listing_id), ts_ms, accepted=True, note="inspection_period_over")
        await release(store, listing)


async def _move(store: Store, listing: Listing, step: str, ts_ms: int, **changes) -> Listing:
    return await store.change(listing, ts_ms, state=next_state(step, listing.state), **changes)


async def take_inspections(pool: Pool, events: list[DeliveryEvent]) -> None:
    """Keeps the inspections among delivery's events, so that a listing can name one."""
    async with transaction(pool) as store:
        for event in events:
            if isinstance(event, HardwareInspected):
                await store.add_inspection(event)


async def take_batch(pool: Pool, shard: int, old: Position, batch: EventBatch) -> Position:
    """Applies a batch of events in one transaction with the cursor; returns where the service stands then."""
    new = Position(batch.last_seq, batch.next_offset, None)
    async with event_transaction(pool, shard, old, new) as store:
        for event in batch.events:
            await HANDLERS.get(type(event), _ignore)(store, event)
        await release_overdue(store, batch.last_ts_ms)
    return new


async def _ignore(store: Store, event: AnyEvent) -> None:
    """Most events are no business of this service."""


HANDLERS: dict[type, Callable[[Store, AnyEvent], Awaitable[None]]] = {
    HardwareLocked: on_locked,
    HardwareUnlocked: on_unlocked,
    EscrowOpened: on_funded,
    EscrowReleased: on_released,
    EscrowRefunded: on_refunded,
    CommandRejected: on_rejected,
}
