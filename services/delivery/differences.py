"""Two meters differ: the venue itself disputes the position, so that a person or time decides whose word stands."""

from collections.abc import Mapping

from schemas.venue import OpenDispute
from services.delivery.settings import Settings
from services.delivery.store import Store
from services.delivery.telling import tell_dispute

VENUE = "venue"
REASON = "meters_differ"


async def open_by_venue(store: Store, settings: Settings, row: Mapping, revision: int, now_ms: int) -> None:
    """Opens the dispute behind the revision that holds the difference, unless one is open."""
    disputes = await store.rows("disputes_of_position", row["position_id"])
    if any(dispute["state"] == "OPEN" for dispute in disputes):
        return
    dispute_id = f"d-{row['position_id']}-{VENUE}"
    deadline_ms = now_ms + settings.dispute_decide_ms(row["period_ms"])
    facts = (dispute_id, row["position_id"], VENUE, VENUE, VENUE, REASON, "", now_ms, deadline_ms, revision)
    await store.run("insert_dispute", *facts)
    await store.command(OpenDispute(position_id=row["position_id"], opened_by=VENUE, reason=REASON))
    await tell_dispute(store, await store.row("find_dispute", dispute_id), now_ms)
