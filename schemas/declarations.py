"""What a node's agent declares for its operator, signed with the node's key. Served by delivery.

    POST /v1/nodes/{node_id}/signed-recalls        NodeRecall        → 201 RecallView
    POST /v1/nodes/{node_id}/signed-maintenance    NodeMaintenance   → 201 MaintenanceView

The same signature again is the same declaration; `wall_ms` makes one that says the same another.
"""

from typing import Annotated, ClassVar

from pydantic import Field

from schemas.ids import GpuUuid, NodeId, Signature
from schemas.measures import Milliseconds
from schemas.nodes import Count, PositionId, SignedMessage


class NodeRecall(SignedMessage):
    """Takes GPUs of an interruptible position of this node back (none named: all), as `RecallForm` says."""

    purpose: ClassVar[str] = "recall"
    agent: NodeId
    position_id: PositionId
    gpus: Annotated[tuple[GpuUuid, ...], Field(max_length=64)] = ()
    from_ms: Milliseconds | None = None
    wall_ms: Count
    signature: Signature


class NodeMaintenance(SignedMessage):
    """Declares a window of maintenance, [start_ms, end_ms), in which what is traded from now on is excused."""

    purpose: ClassVar[str] = "maintenance"
    agent: NodeId
    start_ms: Milliseconds
    end_ms: Milliseconds
    wall_ms: Count
    signature: Signature
