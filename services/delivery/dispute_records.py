"""Publishes how a dispute stands: to everyone on `delivery.events`, with all that was said in it on `meter.reports`."""

from schemas.delivery import DisputeChanged
from schemas.nodes import DisputeRecorded
from services.delivery.rows import Dispute
from services.delivery.store import Store
from services.delivery.store.disputes import RECORDED

PUBLIC = ("position_id", "contract", "state", "reason", "decided_by", "outcome", "revision")


async def publish_dispute(store: Store, dispute: Dispute, now_ms: int) -> None:
    """Publishes how a dispute stands; the evidence stays with the parties, and on the venue's own record."""
    facts = {name: getattr(dispute, name) for name in PUBLIC}
    await store.publish(DisputeChanged, dispute.node, now_ms, opened_by=dispute.side, **facts)
    recorded = {name: getattr(dispute, name) for name in RECORDED}
    await store.record(dispute.node, DisputeRecorded(node_id=dispute.node, received_ms=now_ms, **recorded))
