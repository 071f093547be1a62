"""Hardware: acknowledged steps against the event log and against what listings and the public board show in the end."""

from clients.actors import Actor
from clients.http import result_of
from schemas.events import EscrowOpened, EscrowRefunded, EscrowReleased, HardwareLocked, HardwareUnlocked
from schemas.listings import ListingChanged
from schemas.topics import LISTINGS_EVENTS
from tests.faults.audit.log import EventLog, read_topic
from tests.faults.load.sellers import ENDED, Seller

CAUSED = {
    "list": (HardwareLocked,),
    "withdraw": (HardwareUnlocked,),
    "returned": (EscrowRefunded, HardwareUnlocked),
    "accept": (EscrowReleased,),
}


def check_sales(log: EventLog, seller: Seller) -> list[str]:
    """Each acknowledged step had its effect once, and each escrow came to one end."""
    faults, caused = list(seller.contradictions), {}
    for kind in {kind for kinds in CAUSED.values() for kind in kinds} | {EscrowOpened}:
        listing_ids = [event.listing_id for event in log.of(kind)]
        caused[kind] = set(listing_ids)
        if len(listing_ids) != len(caused[kind]):
            faults.append(f"{kind.__name__} happened twice to a listing: {listing_ids}")
    for listing_id, steps in seller.steps.items():
        for step in steps:
            missing = [kind.__name__ for kind in CAUSED.get(step, ()) if listing_id not in caused[kind]]
            if missing and not (step == "list" and steps == ["list"]):
                faults.append(f"{listing_id}: {step} was acknowledged, the log has no {missing}")
    ended = [event.escrow_id for event in log.events if isinstance(event, EscrowReleased | EscrowRefunded)]
    opened = [event.escrow_id for event in log.of(EscrowOpened)]
    return faults + ([] if sorted(opened) == sorted(ended) else [f"escrows opened {opened}, ended {ended}"])


async def check_board(bootstrap: str, reader: Actor, seller: Seller) -> list[str]:
    """Every acknowledged listing has ended, in the service as on its topic."""
    last: dict[str, ListingChanged] = {}
    for raw in await read_topic(bootstrap, LISTINGS_EVENTS):
        change = ListingChanged.model_validate_json(raw)
        if change.listing_id not in last or change.seq > last[change.listing_id].seq:
            last[change.listing_id] = change
    faults = []
    for listing_id in seller.steps:
        state = result_of(reader.listings.get(f"/v1/listings/{listing_id}"))["state"]
        published = last[listing_id].state if listing_id in last else None
        if state != published or state not in ENDED:
            faults.append(f"{listing_id} is {state}, published as {published}")
    return faults
