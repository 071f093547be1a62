"""The steps that people take: list, buy, ship, receive, accept, reject, return, withdraw; each one transaction."""

import time
from uuid import uuid4

from schemas.listings import ListingForm
from schemas.money import BadDecimal
from schemas.venue import LockHardware, OpenEscrow, RefundEscrow, ReleaseEscrow, UnlockHardware
from services.kit.http import ProblemError
from services.kit.outbox import Relay
from services.kit.store import Pool
from services.listings import domain
from services.listings.settings import Settings
from services.listings.store import Listing, Store, transaction


def now_ms() -> int:
    """The wall clock in milliseconds; only for time stamps, money's deadlines are the log's."""
    return time.time_ns() // 1_000_000


class Sales:
    """What the HTTP side calls. Money and GPUs move only when the engine's event comes back (see handlers)."""

    def __init__(self, settings: Settings, pool: Pool, relays: tuple[Relay, ...]):
        self._settings, self._pool, self._relays = settings, pool, relays

    async def create(self, account: str, form: ListingForm) -> Listing:
        """Takes a listing and asks the engine to lock its GPUs. Raises ListingError or ProblemError."""
        async with transaction(self._pool) as store:
            inspection = await store.inspection(form.inspection_id)
            if inspection is None or inspection.account != account:
                raise domain.BadInspection("no such inspection of a node of yours (yet)")
            oldest_ms = now_ms() - self._settings.listings_inspection_age_ms_max
            try:
                terms = domain.make_terms(form, inspection, oldest_ms, self._settings.listings_fee_bps)
            except BadDecimal as error:
                raise ProblemError("bad_decimal", f"price: {error}") from error
            listing = await store.insert(f"lst-{uuid4().hex[:20]}", account, form, terms, now_ms())
            gpus = tuple(gpu.uuid for gpu in terms.gpus)
            lock = LockHardware(listing_id=listing.listing_id, account=account, gpus=gpus)
            await store.command(listing, "lock", lock)
        self._wake()
        return listing

    async def step(self, name: str, account: str, listing_id: str, note: str = "") -> Listing:
        """Takes one step of a sale. Raises ListingError or UnknownListing."""
        async with transaction(self._pool) as store:
            listing = await store.lock(listing_id)
            domain.check_party(name, account, listing.seller, listing.buyer)
            after = domain.next_state(name, listing.state)
            changes = {"state": after, "note": note} | self._changes(name, account, listing)
            listing = await store.change(listing, now_ms(), **changes)
            await _command(store, name, listing)
        self._wake()
        return listing

    def _changes(self, name: str, account: str, listing: Listing) -> dict:
        if name == "buy":
            return {"buyer": account, "escrow_id": f"esc-{uuid4().hex[:20]}"}
        if name == "receive":
            return {"inspect_until_ms": now_ms() + self._settings.listings_inspection_period_ms}
        if name == "accept":
            if listing.accepted:
                raise domain.WrongState("the buyer has accepted already")
            return {"accepted": True}
        return {}

    def _wake(self) -> None:
        for relay in self._relays:
            relay.wake()


async def release(store: Store, listing: Listing) -> None:
    """Asks the engine to pay the seller."""
    await store.command(listing, "release", ReleaseEscrow(escrow_id=listing.escrow_id))


async def _command(store: Store, name: str, listing: Listing) -> None:
    """Sends the engine what the step asks of it; steps of goods alone ask nothing."""
    if name == "buy":
        await store.command(listing, "fund", _escrow(listing))
    elif name == "accept":
        await release(store, listing)
    elif name == "returned":
        await store.command(listing, "refund", RefundEscrow(escrow_id=listing.escrow_id))
    elif name == "withdraw":
        await store.command(listing, "unlock", UnlockHardware(listing_id=listing.listing_id))


def _escrow(listing: Listing) -> OpenEscrow:
    return OpenEscrow(
        escrow_id=listing.escrow_id,
        listing_id=listing.listing_id,
        buyer=listing.buyer,
        seller=listing.seller,
        asset=listing.currency,
        amount_micros=listing.price_micros,
        fee_micros=listing.fee_micros,
    )
