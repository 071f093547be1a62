"""Who may dispute what, until when, and what rules decide by themselves: pure."""

from collections.abc import Sequence

from schemas.disputes import DisputeReason, Side
from services.delivery.domain import DeliveryError
from services.delivery.rows import Dispute, Position

# What the chain and the venue's own record say is everything there is to know about these.
DECIDED_BY_RULES = frozenset({"late_reports", "venue_outage"})


class NotDisputable(DeliveryError):
    """The position cannot be disputed; the code says why."""

    status = 409

    def __init__(self, code: str, detail: str):
        super().__init__(detail)
        self.code = code


def side_of(position: Position, account: str) -> Side | None:
    """Returns the side that an account is on; None for a stranger. Who is both is the buyer."""
    if account == position.buyer:
        return "buyer"
    return "operator" if account == position.operator else None


def require_disputable(position: Position, disputes: Sequence[Dispute], side: Side, now_ms: int) -> None:
    """Raises NotDisputable for a position that is not settled or final, or was disputed by this side, or is now."""
    name = f"position {position.position_id}"
    if not position.revision:
        raise NotDisputable("not_settled", f"{name} is not settled yet")
    if position.final or now_ms >= position.end_ms + position.final_ms:
        raise NotDisputable("too_late", f"{name} could be disputed for {position.final_ms // 1000} s after its end")
    if any(dispute.state == "OPEN" for dispute in disputes):
        raise NotDisputable("already_disputed", f"{name} is being disputed")
    if any(dispute.side == side for dispute in disputes):
        raise NotDisputable("already_disputed", f"the {side} has disputed {name} before")


def waits_for_a_person(reason: DisputeReason, was_corrected: bool) -> bool:
    """Says whether a person has to look at what rules did not settle."""
    return not was_corrected and reason not in DECIDED_BY_RULES
