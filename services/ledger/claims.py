"""What corrections leave owed: drawn on the guarantee, or claims that the debtor's next credits pay."""

from dataclasses import dataclass, field
from typing import NamedTuple

from schemas.events import AnyEvent, ClaimPaid, ClaimRecorded, GuaranteeDrawn


class Claim(NamedTuple):
    """An amount that a debtor lacked: `owed` is what is still to be paid, 0 where the guarantee paid at once."""

    seq: int
    ts_ms: int
    kind: str
    claim_id: int | None
    position_id: int
    revision: int
    debtor: str
    creditor: str
    asset: str
    amount: int
    owed: int


class Payment(NamedTuple):
    """A claim that was paid, as far as `owed` says."""

    claim_id: int
    owed: int
    ts_ms: int


@dataclass
class Claims:
    """What one batch of events writes about claims."""

    made: list[Claim] = field(default_factory=list)
    paid: dict[int, Payment] = field(default_factory=dict)

    def take(self, event: AnyEvent) -> None:
        """Notes what an event says of claims, if it does."""
        match event:
            case GuaranteeDrawn():
                self.made.append(_claim(event, "guarantee", None, owed=0))
            case ClaimRecorded():
                self.made.append(_claim(event, "claim", event.claim_id, owed=event.amount_micros))
            case ClaimPaid():
                self.paid[event.claim_id] = Payment(event.claim_id, event.left_micros, event.ts_ms)


def _claim(event: GuaranteeDrawn | ClaimRecorded, kind: str, claim_id: int | None, owed: int) -> Claim:
    cause = (event.position_id, event.revision, event.debtor, event.creditor)
    return Claim(event.seq, event.ts_ms, kind, claim_id, *cause, event.asset, event.amount_micros, owed)
