"""The score of a reputation: exactly its formula, and nothing but facts in it."""

from dataclasses import replace

import pytest

from services.delivery.reputation import FORMULA, Facts, days_of, score_of
from services.delivery.settings import Settings

FACTS = Facts(
    positions=100,
    owed_gpu_s=360_000,
    delivered_gpu_s=356_400,
    outages=1,
    two_sided=10,
    disputed_gpu_s=0,
    proofs_passed=95,
    proofs_failed=5,
    disputes_lost=0,
    suspicions=0,
    first_ms=0,
    period_ms=3_600_000,
)


@pytest.mark.parametrize(
    ("days", "changes", "score"),
    [
        (30, {}, 470),  # 1000 * 0.99 * 0.95 * 30/60 = 470.25
        (270, {}, 846),  # 1000 * 0.99 * 0.95 * 270/300 = 846.45
        (270, {"disputes_lost": 2}, 705),  # … * 100/120 = 705.375
        (270, {"delivered_gpu_s": 360_000, "proofs_failed": 0}, 900),
        (0, {}, 0),
        (270, {"delivered_gpu_s": 0}, 0),
        (270, {"owed_gpu_s": 0, "delivered_gpu_s": 0, "positions": 0}, None),
        (270, {"proofs_passed": 0, "proofs_failed": 0}, None),
    ],
)
def test_the_score_is_that_of_the_formula(days, changes, score):
    assert score_of(replace(FACTS, **changes), days) == score


@pytest.mark.parametrize(("days", "lost"), [(1, 0), (77, 3), (400, 1)])
def test_whoever_applies_the_formula_as_it_is_told_has_the_same_score(days, lost):
    facts = replace(FACTS, disputes_lost=lost)
    told = FORMULA.removeprefix("score = floor(").partition("); null")[0]
    assert int(eval(told, {}, vars(facts) | {"days": days})) == score_of(facts, days)


def test_a_day_is_that_of_the_nodes_periods():
    assert days_of(FACTS, Settings(), 24 * 3_600_000 * 3 + 1) == 3
    assert days_of(replace(FACTS, period_ms=60_000), Settings(), 24 * 60_000 * 3) == 3
    assert days_of(replace(FACTS, period_ms=None), Settings(), -5) == 0
