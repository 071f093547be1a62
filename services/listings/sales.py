"""The steps that people take, from the offer to the arbiter's word; each is one transaction with its answer."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from uuid import uuid4

from fastapi import Response

from schemas.answers import FirstAnswer
from schemas.listings import InspectionForm, ListingForm
from schemas.money import BadDecimal
from services.kit.http import ProblemError
from services.kit.idempotency import Attempt, once
from services.kit.log_clock import LogClock
from services.kit.outbox import Relay
from services.kit.store import Pool
from services.listings import domain
from services.listings.differences import compare
from services.listings.goods import BARRED, make_terms
from services.listings.moves import Moves
from services.listings.settings import Settings
from services.listings.store import Listing, Store, transaction
from services.listings.views import view_of


class Sales:
    """What the HTTP side calls. Money and GPUs move only when the engine's event comes back (see handlers)."""

    def __init__(self, settings: Settings, pool: Pool, relays: tuple[Relay, ...], clock: LogClock):
        self._settings, self._pool, self._relays, self._clock = settings, pool, relays, clock
        self._moves = Moves(settings.periods, settings.listings_outage_ms)

    async def create(self, asked: Attempt, form: ListingForm) -> Response:
        """Takes a listing and asks the engine to lock its GPUs. Raises ListingError or ProblemError."""
        return await self._once(asked, lambda store: self._create(store, asked.account, form), status=201)

    async def _create(self, store: Store, account: str, form: ListingForm) -> Listing:
        inspection = await store.inspection(form.inspection_id)
        if inspection is None or inspection.account != account:
            raise domain.BadInspection("no such inspection of one of your nodes (yet)")
        now_ms, standing = self._clock.now_ms, await store.standing(inspection.node, inspection.seq)
        try:
            terms = make_terms(form, inspection, now_ms, self._settings.board, standing)
        except BadDecimal as error:
            raise ProblemError("bad_decimal", f"price: {error}") from error
        if offered := await store.offered_already(terms.gpus):
            uuid, serial, other = offered
            raise domain.NotListable(f"{uuid} ({serial}) is offered already, in {other}")
        listing_id = f"lst-{uuid4().hex[:20]}"
        deadline_ms = self._settings.periods.deadline_ms("LOCKING", now_ms)
        listing = await store.insert(listing_id, account, form, terms, inspection, now_ms, deadline_ms)
        await store.add_step(listing, "offer", "seller", "")
        await self._moves.ask_engine(store, listing)
        return listing

    async def step(self, asked: Attempt, name: str, listing_id: str, words: str = "") -> Response:
        """Takes one step of a sale. Raises ListingError or UnknownListing."""
        return await self._once(asked, lambda store: self._step(store, asked.account, name, listing_id, words))

    async def _step(self, store: Store, account: str, name: str, listing_id: str, words: str) -> Listing:
        listing = await self._in_time(store, listing_id)
        domain.check_party(name, account, listing.seller, listing.buyer)
        changes, by = {}, domain.STEPS[name].by
        if name == "buy":
            domain.check_purchase(account, listing.state, listing.buyer)
            standing = await store.standing(listing.node)
            if standing is not None and standing.state in BARRED:
                raise domain.NotListable(f"the seller's node is {standing.state}: its inspections do not count")
            changes, by = {"buyer": account, "escrow_id": f"esc-{uuid4().hex[:20]}"}, "buyer"
        elif by == "party":
            by = "seller" if account == listing.seller else "buyer"
        return await self._moves.take(store, listing, name, self._clock.now_ms, by, words, **changes)

    async def inspect(self, asked: Attempt, listing_id: str, form: InspectionForm) -> Response:
        """Compares the buyer's own inspection with the listing. Raises ListingError or UnknownListing."""
        return await self._once(asked, lambda store: self._inspect(store, asked.account, listing_id, form))

    async def _inspect(self, store: Store, account: str, listing_id: str, form: InspectionForm) -> Listing:
        listing = await self._in_time(store, listing_id)
        domain.check_inspector(account, listing.buyer, listing.state)
        found = await store.inspection(form.inspection_id)
        if found is None or found.account != account:
            raise domain.BadInspection("no such inspection of yours (yet)")
        if found.ts_ms < listing.changed_ms - self._settings.listings_inspection_age_ms_max:
            raise domain.BadInspection("the inspection is too old; make another with a new nonce")
        difference = compare(listing.gpus, await store.report(listing.inspection_id), found)
        listing = await store.change(replace(listing, difference=difference))
        worse = sum(finding.worse for finding in difference.findings)
        await store.add_step(
            listing, "inspect", "buyer", f"{len(difference.findings)} differences, {worse} for the worse"
        )
        return listing

    async def _in_time(self, store: Store, listing_id: str) -> Listing:
        """A step comes too late where the deadline has passed, even if nobody has looked at the clock since."""
        await self._moves.look_for_outage(store, self._clock.now_ms)  # before any listing is locked, as everywhere
        listing = await store.lock(listing_id)
        while listing.deadline_ms is not None and listing.deadline_ms <= self._clock.now_ms:
            listing = await self._moves.time_out(store, listing)
        return listing

    async def _once(self, asked: Attempt, work: Callable[[Store], Awaitable[Listing]], status: int = 200) -> Response:
        """Does the work and answers with the listing as it stands then; a repeat gets the first answer."""
        async with transaction(self._pool) as store:
            listing: Listing | None = None

            async def text() -> str:
                nonlocal listing
                listing = await work(store)
                view = view_of(listing, asked.account, await store.steps(listing.listing_id))
                return view.model_dump_json()

            async def publish(first: FirstAnswer) -> None:
                await store.publish_answer(listing.listing_id, first)

            response = await once(store.connection, asked, text, status, publish)
        for relay in self._relays:
            relay.wake()
        return response
