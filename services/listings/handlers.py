"""What the engine's events and the log's time mean for listings; every handler bears an answer that comes twice."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

import structlog

from schemas.delivery import DeliveryEvent, HardwareInspected, NodeStateChanged
from schemas.events import (
    AnyEvent,
    CommandRejected,
    EscrowOpened,
    EscrowRefunded,
    EscrowReleased,
    HardwareLocked,
    HardwareUnlocked,
)
from schemas.topics import DELIVERY_EVENTS
from schemas.venue import RefundEscrow, UnlockHardware
from services.kit.doubts import doubting, is_passing
from services.kit.events import EventBatch
from services.kit.store import Pool, Position, note_taken
from services.listings.domain import ASKED_OF_ENGINE, STEPS
from services.listings.goods import BARRED, Standing
from services.listings.moves import Moves
from services.listings.store import Listing, Store, UnknownListing, event_transaction, transaction

SOURCE = "listings"


async def on_locked(store: Store, moves: Moves, event: HardwareLocked) -> None:
    """The GPUs left the rental market: the listing is open. One that was refused meanwhile gives them back."""
    listing = await store.lock(event.listing_id)
    if listing.state == "LOCKING":
        listed = await moves.take(store, listing, "locked", event.ts_ms)
        await withdraw_if_barred(store, moves, listed, await store.standing(listing.node), event.ts_ms)
    elif listing.state == "REFUSED":
        await store.command(listing, UnlockHardware(listing_id=listing.listing_id))


async def on_unlocked(store: Store, moves: Moves, event: HardwareUnlocked) -> None:
    """The GPUs are for rent again."""
    listing = await store.lock(event.listing_id)
    if listing.state in STEPS["unlocked"].before:
        await moves.take(store, listing, "unlocked", event.ts_ms)


async def on_funded(store: Store, moves: Moves, event: EscrowOpened) -> None:
    """The buyer's money is held: the seller may ship. Money for a purchase that is off goes straight back."""
    listing = await store.lock(event.listing_id)
    if listing.escrow_id != event.escrow_id:
        await store.command(listing, RefundEscrow(escrow_id=event.escrow_id))
    elif listing.state == "FUNDING":
        await moves.take(store, listing, "funded", event.ts_ms)


async def on_released(store: Store, moves: Moves, event: EscrowReleased) -> None:
    """The seller was paid."""
    listing = await store.lock(event.listing_id)
    if listing.escrow_id == event.escrow_id and listing.state in STEPS["released"].before:
        await moves.take(store, listing, "released", event.ts_ms)


async def on_refunded(store: Store, moves: Moves, event: EscrowRefunded) -> None:
    """The buyer has the money back; the GPUs return to the rental market."""
    listing = await store.lock(event.listing_id)
    if listing.escrow_id == event.escrow_id and listing.state in STEPS["refunded"].before:
        await moves.take(store, listing, "refunded", event.ts_ms, note=listing.note)


async def on_rejected(store: Store, moves: Moves, event: CommandRejected) -> None:
    """The engine refused a step of ours: a lock ends the listing, a failed payment opens it again."""
    request = await store.requested(event.number) if event.source == SOURCE else None
    if request is None:
        return
    listing = await store.lock(request.listing_id)
    if listing.state != request.state or listing.escrow_id != request.escrow_id:
        return  # the answer to a question asked twice: the first one has had its answer
    if listing.state == "LOCKING":
        await moves.take(store, listing, "lock_refused", event.ts_ms, note=event.code)
    elif listing.state == "FUNDING":
        off = {"note": event.code, "buyer": None, "escrow_id": None}
        await moves.take(store, listing, "funding_refused", event.ts_ms, **off)
    else:
        asked = ASKED_OF_ENGINE.get(listing.state)
        structlog.get_logger().error("the engine refused", listing=listing.listing_id, asked=asked, code=event.code)
        await store.change(replace(listing, note=event.code))


async def withdraw_if_barred(
    store: Store, moves: Moves, listing: Listing, standing: Standing | None, ts_ms: int
) -> None:
    """Nothing of a node that is quarantined or banned is for sale; what was bought before goes on."""
    if standing is not None and standing.state in BARRED:
        await moves.take(store, listing, "barred", ts_ms, note=f"node_{standing.state}")


async def handle_deliveries(pool: Pool, moves: Moves, events: list[DeliveryEvent], ends: Mapping[int, int]) -> None:
    """Keeps the inspections among delivery's events, so that a listing can name one, and the standing of nodes.

    What a barred node offers leaves the board. `ends` says up to where each partition is taken then.
    """
    async with transaction(pool) as store:
        for event in events:
            if isinstance(event, HardwareInspected):
                await store.add_inspection(event)
            elif isinstance(event, NodeStateChanged):
                await store.put_node_state(event)
                standing = await store.standing(event.node)
                for listing in await store.lock_listed_of_node(event.node):
                    await withdraw_if_barred(store, moves, listing, standing, event.ts_ms)
        await note_taken(store.connection, DELIVERY_EVENTS.name, ends)


async def handle_batch(pool: Pool, moves: Moves, shard: int, old: Position, batch: EventBatch, now_ms: int) -> Position:
    """Applies a batch of events in one transaction with the cursor; returns where the service stands then.

    `now_ms` is the log's time, which may lie far ahead of the events. Deadlines that lie before an event pass before
    it, so that a service that was away decides as one that was not, but for the time that its outage gives to everyone.
    Where the batch cannot be taken whole, each event is taken by itself.
    """
    new = batch.position
    try:
        await _take(pool, moves, shard, (old, new), batch, now_ms, _handle)
    except Exception as error:
        if is_passing(error):
            raise
        await _take(pool, moves, shard, (old, new), batch, now_ms, _handle_or_doubt)
    return new


async def _take(
    pool: Pool,
    moves: Moves,
    shard: int,
    step: tuple[Position, Position],
    batch: EventBatch,
    now_ms: int,
    handle: Callable[[Store, Moves, AnyEvent], Awaitable[None]],
) -> None:
    async with event_transaction(pool, shard, *step) as store:
        await moves.look_for_outage(store, max(now_ms, batch.last_ts_ms))
        for event in batch.events:
            await moves.pass_time(store, event.ts_ms)
            await handle(store, moves, event)
        await moves.pass_time(store, batch.last_ts_ms)


async def _handle_or_doubt(store: Store, moves: Moves, event: AnyEvent) -> None:
    """What cannot be taken is told and left out."""
    async with doubting(store.connection, event.seq, event.type):
        await _handle(store, moves, event)


async def pass_time(pool: Pool, moves: Moves, now_ms: int) -> int:
    """Lets deadlines pass that no event reached; returns how many did."""
    async with transaction(pool) as store:
        await moves.look_for_outage(store, now_ms)
        return await moves.pass_time(store, now_ms)


async def _handle(store: Store, moves: Moves, event: AnyEvent) -> None:
    try:
        await HANDLERS.get(type(event), _ignore)(store, moves, event)
    except UnknownListing:
        # Its record is lost with its row; what the engine holds for it, the administrator gives back by hand.
        log = structlog.get_logger()
        log.error("the engine speaks of a listing that is not known", answer=event.canonical().decode())


async def _ignore(store: Store, moves: Moves, event: AnyEvent) -> None:
    """Most events are no business of this service."""


HANDLERS: dict[type, Callable[[Store, Moves, AnyEvent], Awaitable[None]]] = {
    HardwareLocked: on_locked,
    HardwareUnlocked: on_unlocked,
    EscrowOpened: on_funded,
    EscrowReleased: on_released,
    EscrowRefunded: on_refunded,
    CommandRejected: on_rejected,
}
