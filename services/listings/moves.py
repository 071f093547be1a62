"""How a listing moves: the step, its deadline, its record and what it asks of the engine, in one transaction."""

from dataclasses import replace
from typing import Any

from schemas.venue import LockHardware, OpenEscrow, RefundEscrow, ReleaseEscrow, UnlockHardware, VenueCommand
from services.listings.domain import ASKED_OF_ENGINE, STEPS, TIMEOUTS, Periods, next_state
from services.listings.store import Listing, Store


class Moves:
    """Takes steps on a store; `periods` say how long a listing may stay where a step brings it.

    What lasts longer than `outage_ms_min` without the service, or without the log going on, is an outage of the venue.
    """

    def __init__(self, periods: Periods, outage_ms_min: int):
        self._periods, self._outage_ms_min = periods, outage_ms_min

    async def take(
        self, store: Store, listing: Listing, step: str, ts_ms: int, by: str = "", words: str = "", **changes: Any
    ) -> Listing:
        """Takes a step at log time `ts_ms` and returns the listing as it stands then. Raises WrongState.

        `by` is who took it where the step is not one party's alone; `words` are that party's own, for the parties.
        """
        state = next_state(step, listing.state)
        since_ms = max(ts_ms, listing.changed_ms)
        _, back_ms = await store.alive_mark()
        deadline_ms = self._periods.deadline_ms(state, max(since_ms, back_ms))
        changes = {"note": "", "state": state, "deadline_ms": deadline_ms} | changes
        after = await store.change(replace(listing, changed_ms=since_ms, **changes))
        await store.add_step(after, step, by or STEPS[step].by, words)
        await self.ask_engine(store, after)
        return after

    async def ask_engine(self, store: Store, listing: Listing) -> None:
        """Sends the engine what a listing in this state waits for. Asked twice, it does it once."""
        if listing.state in ASKED_OF_ENGINE:
            await store.command(listing, command_for(listing))

    async def look_for_outage(self, store: Store, now_ms: int) -> None:
        """Notes that the venue is there at log time `now_ms`; an outage since the last note lengthens all deadlines.

        It comes before any deadline passes: in an outage nobody could act.
        """
        at_ms, back_ms = await store.alive_mark()
        missed_ms = now_ms - at_ms if at_ms else 0
        if missed_ms > self._outage_ms_min:
            back_ms = now_ms
            for listing in await store.lock_running(at_ms, TIMEOUTS):
                longer = await store.change(replace(listing, deadline_ms=listing.deadline_ms + missed_ms))
                await store.add_step(longer, "lengthened", "venue", "", now_ms)
        await store.set_alive_mark(now_ms, back_ms)

    async def pass_time(self, store: Store, now_ms: int) -> int:
        """Lets every deadline up to `now_ms` pass, in the order (time, state, id); returns how many did."""
        passed = 0
        while (listing := await store.lock_overdue(now_ms)) is not None:
            await self.time_out(store, listing)
            passed += 1
        return passed

    async def time_out(self, store: Store, listing: Listing) -> Listing:
        """Does what the deadline of a listing brings, at the deadline's own time."""
        if listing.state in TIMEOUTS:
            step, _ = TIMEOUTS[listing.state]
            return await self.take(store, listing, step, listing.deadline_ms, note=step)
        await self.ask_engine(store, listing)
        deadline_ms = self._periods.deadline_ms(listing.state, listing.deadline_ms)
        return await store.change(replace(listing, deadline_ms=deadline_ms))


def command_for(listing: Listing) -> VenueCommand:
    """Returns the command that a listing's state asks of the engine."""
    match ASKED_OF_ENGINE[listing.state]:
        case "lock":
            gpus = tuple(gpu.uuid for gpu in listing.gpus)
            return LockHardware(listing_id=listing.listing_id, account=listing.seller, gpus=gpus)
        case "unlock":
            return UnlockHardware(listing_id=listing.listing_id)
        case "fund":
            return OpenEscrow(
                escrow_id=listing.escrow_id,
                listing_id=listing.listing_id,
                buyer=listing.buyer,
                seller=listing.seller,
                asset=listing.currency,
                amount_micros=listing.price_micros,
                fee_micros=listing.fee_micros,
            )
        case "release":
            return ReleaseEscrow(escrow_id=listing.escrow_id)
        case _:
            return RefundEscrow(escrow_id=listing.escrow_id)
