"""Says on `delivery.events` how a dispute stands."""

from collections.abc import Mapping

from schemas.delivery import DisputeChanged
from services.delivery.store import Store


async def tell_dispute(store: Store, dispute: Mapping, now_ms: int) -> None:
    """Says on `delivery.events` how a dispute stands; the evidence stays with the parties."""
    names = ("position_id", "contract", "state", "reason", "decided_by", "outcome", "revision")
    facts = {name: dispute[name] for name in names}
    await store.tell(DisputeChanged, dispute["node_id"], now_ms, opened_by=dispute["side"], **facts)
