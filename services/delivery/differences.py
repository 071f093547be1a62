"""Two meters differ: the venue itself disputes the position, so that a person or time decides whose word stands."""

from schemas.venue import OpenDispute
from services.delivery.dispute_records import publish_dispute
from services.delivery.rows import Position
from services.delivery.settings import Settings
from services.delivery.store import Store
from services.delivery.store.disputes import NewDispute

VENUE = "venue"
REASON = "meters_differ"


async def open_by_venue(store: Store, settings: Settings, position: Position, revision: int, now_ms: int) -> None:
    """Opens the dispute behind the revision that holds the difference, unless one is open."""
    disputes = await store.disputes.of_position(position.position_id)
    if any(dispute.state == "OPEN" for dispute in disputes):
        return
    dispute = await store.disputes.insert(
        NewDispute(
            dispute_id=f"d-{position.position_id}-{VENUE}",
            position_id=position.position_id,
            side=VENUE,
            account=VENUE,
            idempotency_key=VENUE,
            reason=REASON,
            evidence="",
            opened_ms=now_ms,
            deadline_ms=now_ms + settings.dispute_decide_ms(position.period_ms),
            revision=revision,
        )
    )
    await store.command(OpenDispute(position_id=position.position_id, opened_by=VENUE, reason=REASON))
    await publish_dispute(store, dispute, now_ms)
