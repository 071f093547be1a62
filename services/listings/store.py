"""Listings in PostgreSQL: a change is written, published and commanded to the engine in one transaction."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import asyncpg
from pydantic import TypeAdapter

from schemas.delivery import HardwareInspected
from schemas.listings import Condition, ListedGpu, ListingChanged, ListingForm, ListingState
from schemas.nodes import InspectionReport
from schemas.topics import LISTINGS_EVENTS
from schemas.venue import VenueCommand
from services.kit import store as kit
from services.listings.domain import Inspection, Terms
from services.listings.settings import Settings

QUERIES = kit.load_queries("services.listings")
GPUS = TypeAdapter(tuple[ListedGpu, ...])
SCHEMA = "listings"


class UnknownListing(Exception):
    """There is no listing with this id."""


@dataclass(frozen=True)
class Listing:
    """One listing as it stands; money in micro-units, times in milliseconds."""

    listing_id: str
    number: int
    seller: str
    buyer: str | None
    state: ListingState
    kind: str
    title: str
    grade: str
    hub: str
    condition: Condition
    price_micros: int
    fee_micros: int
    currency: str
    gpus: tuple[ListedGpu, ...]
    inspection_id: str
    simulated: bool
    escrow_id: str | None
    note: str
    changed_ms: int
    inspect_until_ms: int | None
    accepted: bool


async def open_pool(settings: Settings) -> asyncpg.Pool:
    """Opens the service's pool on its own, migrated schema."""
    return await kit.open_pool(settings, SCHEMA, "services.listings")


class Store:
    """All statements of the service inside one transaction."""

    def __init__(self, connection: asyncpg.Connection):
        self._connection = connection

    async def add_inspection(self, event: HardwareInspected) -> None:
        """Keeps an inspection; a repeat changes nothing."""
        report = event.report.canonical().decode()
        await self._connection.execute(QUERIES.add_inspection, event.inspection_id, event.account, event.ts_ms, report)

    async def inspection(self, inspection_id: str) -> Inspection | None:
        """Returns an inspection, or None."""
        row = await self._connection.fetchrow(QUERIES.inspection, inspection_id)
        if row is None:
            return None
        return Inspection(row["account"], row["ts_ms"], InspectionReport.model_validate_json(row["report"]))

    async def insert(self, listing_id: str, seller: str, form: ListingForm, terms: Terms, ts_ms: int) -> Listing:
        """Writes a new listing in state LOCKING."""
        await self._connection.execute(
            QUERIES.insert_listing,
            *(listing_id, seller, form.kind, form.title, terms.grade, form.hub, terms.condition, terms.price_micros),
            *(terms.fee_micros, form.currency, GPUS.dump_json(terms.gpus).decode(), form.inspection_id),
            *(terms.simulated, ts_ms),
        )
        listing = await self.get(listing_id)
        await self._publish(listing)
        return listing

    async def get(self, listing_id: str) -> Listing:
        """Returns a listing. Raises UnknownListing."""
        return _listing(await self._connection.fetchrow(QUERIES.listing, listing_id), listing_id)

    async def lock(self, listing_id: str) -> Listing:
        """Returns a listing that nobody else changes until the transaction ends. Raises UnknownListing."""
        return _listing(await self._connection.fetchrow(QUERIES.lock_listing, listing_id), listing_id)

    async def lock_by_escrow(self, escrow_id: str) -> Listing:
        """Like `lock`, found by its escrow. Raises UnknownListing."""
        return _listing(await self._connection.fetchrow(QUERIES.lock_listing_by_escrow, escrow_id), escrow_id)

    async def page(self, before: int | None, state: str | None, rows_max: int) -> list[Listing]:
        """Returns listings, newest first, from below a number."""
        return [_listing(row, "") for row in await self._connection.fetch(QUERIES.page, before, state, rows_max)]

    async def overdue(self, ts_ms: int) -> list[str]:
        """Returns the ids of listings whose inspection period is over without a word from the buyer."""
        return [row["listing_id"] for row in await self._connection.fetch(QUERIES.overdue, ts_ms)]

    async def change(self, listing: Listing, ts_ms: int, **changes) -> Listing:
        """Writes and publishes a listing with some fields changed."""
        after = replace(listing, changed_ms=max(listing.changed_ms, ts_ms), **changes)
        await self._connection.execute(
            QUERIES.update_listing,
            *(after.listing_id, after.state, after.changed_ms, after.note, after.buyer, after.escrow_id),
            *(after.inspect_until_ms, after.accepted),
        )
        await self._publish(after)
        return after

    async def command(self, listing: Listing, step: str, command: VenueCommand) -> None:
        """Sends a command to the engine and remembers which step of which listing waits for it."""
        number = await kit.enqueue(self._connection, command)
        await self._connection.execute(QUERIES.add_request, number, listing.listing_id, step)

    async def requested(self, number: int) -> tuple[str, str] | None:
        """Returns (listing id, step) of a batch of ours, or None."""
        row = await self._connection.fetchrow(QUERIES.request, number)
        return tuple(row) if row else None

    async def _publish(self, listing: Listing) -> None:
        change = ListingChanged(
            seq=await self._connection.fetchval(QUERIES.next_change),
            ts_ms=listing.changed_ms,
            **{name: getattr(listing, name) for name in _PUBLIC},
        )
        await kit.publish(self._connection, LISTINGS_EVENTS.name, listing.listing_id, change.canonical())


_PUBLIC = tuple(name for name in ListingChanged.model_fields if name not in ("type", "seq", "ts_ms"))


def _listing(row: asyncpg.Record | None, wanted: str) -> Listing:
    if row is None:
        raise UnknownListing(wanted)
    fields = {name: row[name] for name in Listing.__dataclass_fields__ if name != "gpus"}
    return Listing(**fields, gpus=GPUS.validate_json(row["gpus"]))


@asynccontextmanager
async def transaction(pool: asyncpg.Pool) -> AsyncIterator[Store]:
    """Gives the statements inside one transaction."""
    async with pool.acquire() as connection, connection.transaction():
        yield Store(connection)


async def read_position(pool: asyncpg.Pool, shard: int) -> kit.Position:
    """Returns where the service stands in the event log."""
    async with pool.acquire() as connection:
        return await kit.read_position(connection, SCHEMA, shard)


@asynccontextmanager
async def event_transaction(
    pool: asyncpg.Pool, shard: int, old: kit.Position, new: kit.Position
) -> AsyncIterator[Store]:
    """Like `transaction`, and the cursor moves with the effects. Raises kit.Fenced."""
    async with pool.acquire() as connection, connection.transaction():
        yield Store(connection)
        await kit.advance(connection, SCHEMA, shard, old, new)
