"""Listings in PostgreSQL: a change is written, published and commanded to the engine in one transaction."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
from pydantic import TypeAdapter

from schemas.answers import FirstAnswer
from schemas.delivery import HardwareInspected, NodeStateChanged
from schemas.listings import (
    Condition,
    Difference,
    ListedGpu,
    ListingChanged,
    ListingFacts,
    ListingForm,
    ListingRecorded,
    ListingRequestAnswered,
    ListingState,
    SaleStep,
)
from schemas.nodes import InspectionReport
from schemas.topics import LISTINGS_EVENTS, LISTINGS_RECORDS
from schemas.venue import VenueCommand
from services.kit import store as kit
from services.kit.settings import Settings
from services.listings.domain import default_outcome
from services.listings.goods import Standing, Terms

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
    deadline_ms: int | None
    node: str
    inspected_ms: int | None
    difference: Difference | None


@dataclass(frozen=True)
class Request:
    """What a privileged batch of ours asked for: which listing, in which state, about which escrow."""

    listing_id: str
    state: str
    escrow_id: str | None


async def open_pool(settings: Settings) -> asyncpg.Pool:
    """Opens the service's pool on its own, migrated schema."""
    return await kit.open_pool(settings, SCHEMA, "services.listings")


class Store:
    """All statements of the service inside one transaction."""

    def __init__(self, connection: asyncpg.Connection):
        self.connection = connection

    async def add_inspection(self, event: HardwareInspected) -> None:
        """Keeps an inspection; a repeat changes nothing."""
        row = (event.inspection_id, event.account, event.ts_ms, event.report.canonical().decode())
        await self.connection.execute(QUERIES.add_inspection, *row, event.canonical().decode())

    async def inspection(self, inspection_id: str) -> HardwareInspected | None:
        """Returns an inspection with what the venue knew of its GPUs; None where there is none, or only the report."""
        facts = await self.connection.fetchval(QUERIES.inspection, inspection_id)
        return HardwareInspected.model_validate_json(facts) if facts else None

    async def report(self, inspection_id: str) -> InspectionReport:
        """Returns the report of an inspection that a listing was made on."""
        return InspectionReport.model_validate_json(
            await self.connection.fetchval(QUERIES.report_of_inspection, inspection_id)
        )

    async def put_node_state(self, event: NodeStateChanged) -> None:
        """Keeps what delivery said last of a node."""
        row = (event.node, event.seq, event.state, list(event.gpus), event.reason)
        await self.connection.execute(QUERIES.put_node_state, *row)

    async def standing(self, node: str, after_seq: int = 0) -> Standing | None:
        """Returns what delivery said last of a node, if that was after the sequence; else None."""
        row = await self.connection.fetchrow(QUERIES.node_state, node, after_seq)
        return None if row is None else Standing(row["state"], frozenset(row["gpus"]), row["reason"])

    async def offered_already(self, gpus: tuple[ListedGpu, ...]) -> tuple[str, str, str] | None:
        """Returns (uuid, serial, listing) of one of the GPUs that stands in a listing; none is added meanwhile."""
        await self.connection.execute(QUERIES.lock_offers)
        names = [gpu.uuid for gpu in gpus], [gpu.serial for gpu in gpus]
        row = await self.connection.fetchrow(QUERIES.offered_already, *names)
        return None if row is None else tuple(row)

    async def insert(
        self,
        listing_id: str,
        seller: str,
        form: ListingForm,
        terms: Terms,
        inspection: HardwareInspected,
        ts_ms: int,
        deadline_ms: int | None,
    ) -> Listing:
        """Writes a new listing in state LOCKING."""
        await self.connection.execute(
            QUERIES.insert_listing,
            *(listing_id, seller, form.kind, form.title, terms.grade, form.hub, terms.condition, terms.price_micros),
            *(terms.fee_micros, form.currency, GPUS.dump_json(terms.gpus).decode(), form.inspection_id),
            *(terms.simulated, ts_ms, deadline_ms, inspection.node, inspection.ts_ms),
        )
        names = [gpu.uuid for gpu in terms.gpus], [gpu.serial for gpu in terms.gpus]
        await self.connection.execute(QUERIES.add_listed_gpus, listing_id, *names)
        listing = await self.get(listing_id)
        await self._publish(listing)
        return listing

    async def get(self, listing_id: str) -> Listing:
        """Returns a listing. Raises UnknownListing."""
        return listing_of(await self.connection.fetchrow(QUERIES.listing, listing_id), listing_id)

    async def lock(self, listing_id: str) -> Listing:
        """Returns a listing that nobody else changes until the transaction ends. Raises UnknownListing."""
        return listing_of(await self.connection.fetchrow(QUERIES.lock_listing, listing_id), listing_id)

    async def lock_overdue(self, now_ms: int) -> Listing | None:
        """Returns the listing whose deadline passed first by (time, state, id), locked; None where none has."""
        row = await self.connection.fetchrow(QUERIES.lock_overdue, now_ms)
        return None if row is None else listing_of(row)

    async def page(self, before: int | None, state: str | None, rows_max: int) -> list[asyncpg.Record]:
        """Returns the rows of listings (see `listing_of`), newest first, from below a number."""
        return await self.connection.fetch(QUERIES.page, before, state, rows_max)

    async def put_again(self, record: ListingRecorded) -> None:
        """Writes a listing or a step as it was recorded, unless the row is newer; a repeat changes nothing."""
        facts = record.listing
        known = await self.connection.fetchval(QUERIES.listing_record_seq, facts.listing_id)
        if known is None:
            await self.connection.execute(
                QUERIES.insert_listing,
                *(facts.listing_id, facts.seller, facts.kind, facts.title, facts.grade, facts.hub, facts.condition),
                *(facts.price_micros, facts.fee_micros, facts.currency, GPUS.dump_json(facts.gpus).decode()),
                *(facts.inspection_id, facts.simulated, facts.changed_ms, facts.deadline_ms, facts.node),
                facts.inspected_ms,
            )
            names = [gpu.uuid for gpu in facts.gpus], [gpu.serial for gpu in facts.gpus]
            await self.connection.execute(QUERIES.add_listed_gpus, facts.listing_id, *names)
        if record.step is not None:
            step = record.step
            row = (facts.listing_id, step.step, step.by, step.ts_ms, step.state, step.words)
            await self.connection.execute(QUERIES.add_step, *row, record.seq)
        elif known is None or known < record.seq:
            await self._update(facts)
            await self.connection.execute(QUERIES.set_record_seq, facts.listing_id, record.seq)

    async def last_record(self) -> int:
        """Returns the highest number of a record that the rows stand as."""
        return await self.connection.fetchval(QUERIES.last_record)

    async def move_sequences(self, record_seq: int, change_seq: int) -> None:
        """Lets numbers go on behind those that were given out already."""
        await self.connection.execute(QUERIES.move_sequences, max(record_seq, 1), max(change_seq, 1))

    async def record_old(self) -> int:
        """Records listings, with their steps, that are from before records were; returns how many."""
        rows = await self.connection.fetch(QUERIES.unrecorded)
        for row in rows:
            listing = await self.get(row["listing_id"])
            await self._record(listing, None)
            for step in await self.steps(listing.listing_id):
                await self._record(listing, None, step)
        return len(rows)

    async def change(self, after: Listing) -> Listing:
        """Writes and publishes a listing as it is to stand."""
        await self._update(after)
        await self._publish(after)
        return after

    async def _update(self, after: "Listing | ListingFacts") -> None:
        await self.connection.execute(
            QUERIES.update_listing,
            *(after.listing_id, after.state, after.changed_ms, after.note, after.buyer, after.escrow_id),
            *(after.deadline_ms, after.difference and after.difference.model_dump_json()),
        )

    async def alive_mark(self) -> tuple[int, int]:
        """Returns until when the venue is known to have been there, and when its last outage ended; 0 where never."""
        row = await self.connection.fetchrow(QUERIES.alive_mark)
        return (0, 0) if row is None else (row["at_ms"], row["back_ms"])

    async def set_alive_mark(self, at_ms: int, back_ms: int) -> None:
        """Notes that the venue is there, and when its last outage ended; neither goes back."""
        await self.connection.execute(QUERIES.set_alive_mark, at_ms, back_ms)

    async def lock_running(self, after_ms: int, states: Iterable[ListingState]) -> list[Listing]:
        """Returns the listings in these states whose deadline lies behind a time, locked."""
        rows = await self.connection.fetch(QUERIES.lock_running, after_ms, list(states))
        return [listing_of(row) for row in rows]

    async def lock_listed_of_node(self, node: str) -> list[Listing]:
        """Returns a node's listings that anyone may buy, locked."""
        rows = await self.connection.fetch(QUERIES.lock_listed_of_node, node)
        return [listing_of(row) for row in rows]

    async def add_step(self, listing: Listing, name: str, by: str, words: str, ts_ms: int | None = None) -> None:
        """Writes down who brought the listing into its state, and his words; at `ts_ms` what changed in it since."""
        at_ms = ts_ms or listing.changed_ms
        entry = SaleStep(step=name, by=by, ts_ms=at_ms, state=listing.state, words=words)
        seq = await self._record(listing, None, entry)
        await self.connection.execute(QUERIES.add_step, listing.listing_id, name, by, at_ms, listing.state, words, seq)

    async def steps(self, listing_id: str) -> tuple[SaleStep, ...]:
        """Returns what happened to a listing, first step first."""
        rows = await self.connection.fetch(QUERIES.steps, listing_id)
        return tuple(SaleStep(step=row["name"], **_told(row)) for row in rows)

    async def command(self, listing: Listing, command: VenueCommand) -> None:
        """Sends a command to the engine and remembers what of which listing waits for it."""
        number = await kit.enqueue(self.connection, command)
        row = (number, listing.listing_id, listing.state, listing.escrow_id)
        await self.connection.execute(QUERIES.add_request, *row)

    async def publish_answer(self, listing_id: str, first: FirstAnswer) -> None:
        """Puts the first answer to a request on the private topic."""
        record = ListingRequestAnswered(listing_id=listing_id, first=first)
        await kit.publish(self.connection, LISTINGS_RECORDS.name, listing_id, record.canonical())

    async def requested(self, number: int) -> Request | None:
        """Returns what a batch of ours asked for, or None."""
        row = await self.connection.fetchrow(QUERIES.request, number)
        return Request(*row) if row else None

    async def _publish(self, listing: Listing) -> None:
        change = ListingChanged(
            seq=await self.connection.fetchval(QUERIES.next_change),
            ts_ms=listing.changed_ms,
            default_outcome=default_outcome(listing.state),
            **{name: getattr(listing, name) for name in _PUBLIC},
        )
        await kit.publish(self.connection, LISTINGS_EVENTS.name, listing.listing_id, change.canonical())
        await self._record(listing, change.seq)

    async def _record(self, listing: Listing, change_seq: int | None, step: SaleStep | None = None) -> int:
        """Puts the whole listing, or a step of it, on the private topic; returns the record's number."""
        seq = await self.connection.fetchval(QUERIES.next_record)
        facts = ListingFacts(**{name: getattr(listing, name) for name in ListingFacts.model_fields})
        record = ListingRecorded(seq=seq, change_seq=change_seq, listing=facts, step=step)
        await kit.publish(self.connection, LISTINGS_RECORDS.name, listing.listing_id, record.canonical())
        if step is None:
            await self.connection.execute(QUERIES.set_record_seq, listing.listing_id, seq)
        return seq


_PUBLIC = tuple(name for name in ListingChanged.model_fields if name in Listing.__dataclass_fields__)


def _told(row: asyncpg.Record) -> dict[str, object]:
    return {name: row[name] for name in ("by", "ts_ms", "state", "words")}


def listing_of(row: asyncpg.Record | None, wanted: str = "") -> Listing:
    """Returns the listing of a row. Raises UnknownListing where there is none."""
    if row is None:
        raise UnknownListing(wanted)
    fields = {name: row[name] for name in Listing.__dataclass_fields__ if name not in ("gpus", "difference")}
    difference = row["difference"] and Difference.model_validate_json(row["difference"])
    return Listing(**fields, gpus=GPUS.validate_json(row["gpus"]), difference=difference)


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
