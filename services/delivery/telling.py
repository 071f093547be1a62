"""Says how a dispute stands: to everyone on `delivery.events`, with all that was said in it on `meter.reports`."""

from collections.abc import Mapping

from schemas.delivery import DisputeChanged
from schemas.nodes import DisputeRecorded
from services.delivery.store import Store

RECORDED = tuple(name for name in DisputeRecorded.model_fields if name not in ("type", "node_id", "received_ms"))


async def tell_dispute(store: Store, dispute: Mapping, now_ms: int) -> None:
    """Says how a dispute stands; the evidence stays with the parties, and on the venue's own record."""
    names = ("position_id", "contract", "state", "reason", "decided_by", "outcome", "revision")
    facts = {name: dispute[name] for name in names}
    await store.tell(DisputeChanged, dispute["node_id"], now_ms, opened_by=dispute["side"], **facts)
    told = {name: dispute[name] for name in RECORDED}
    await store.record(dispute["node_id"], DisputeRecorded(node_id=dispute["node_id"], received_ms=now_ms, **told))
