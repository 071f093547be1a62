"""Reputation of nodes and operators: facts on record, and a score of them by a formula that anybody can apply."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from fractions import Fraction

from services.delivery.settings import Settings
from services.delivery.store import Store

SETTLING_IN_DAYS = 30
POSITIONS_PER_DISPUTE = 10
FORMULA = (
    "score = floor(1000 * delivered_gpu_s / owed_gpu_s * proofs_passed / (proofs_passed + proofs_failed) "
    f"* days / (days + {SETTLING_IN_DAYS}) * positions / (positions + {POSITIONS_PER_DISPUTE} * disputes_lost)); "
    "null before anything was owed or proven"
)


@dataclass(frozen=True)
class Facts:
    """What is on record of some nodes.

    `owed_gpu_s` is what was contracted less what was excused, by each position's last revision; `outages` are positions
    of which less than 99 % was delivered. `disputed_gpu_s` is what renters' meters saw otherwise in the `two_sided`
    positions. `suspicions` were raised by odd software or load, lifted or not.
    """

    positions: int
    owed_gpu_s: int
    delivered_gpu_s: int
    outages: int
    two_sided: int
    disputed_gpu_s: int
    proofs_passed: int
    proofs_failed: int
    disputes_lost: int
    suspicions: int
    first_ms: int
    period_ms: int | None


FACTS_SHOWN = tuple(field.name for field in fields(Facts) if field.name not in ("first_ms", "period_ms"))


def days_of(facts: Facts, settings: Settings, now_ms: int) -> int:
    """Returns how many full days the oldest node is enrolled; a day is that of levels, scaled with the period."""
    return max(0, now_ms - facts.first_ms) // settings.level_day_ms(facts.period_ms)


def score_of(facts: Facts, days: int) -> int | None:
    """Returns the score, 0 to 1000, by `FORMULA`; None before anything was owed or proven."""
    proofs = facts.proofs_passed + facts.proofs_failed
    if not facts.owed_gpu_s or not proofs:
        return None
    share = Fraction(facts.delivered_gpu_s, facts.owed_gpu_s) * Fraction(facts.proofs_passed, proofs)
    settled_in = Fraction(days, days + SETTLING_IN_DAYS)
    undisputed = Fraction(facts.positions, facts.positions + POSITIONS_PER_DISPUTE * facts.disputes_lost)
    return int(1000 * share * settled_in * undisputed)


async def facts_of(store: Store, node_ids: Sequence[str]) -> Facts:
    """Returns what is on record of nodes, of which there is at least one."""
    return Facts(*await store.row("reputation_facts", node_ids))
