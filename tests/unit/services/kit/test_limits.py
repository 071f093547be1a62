"""Request budgets: a burst, then so many a second, each key for itself."""

import pytest

from services.kit import limits
from services.kit.http import ProblemError
from services.kit.limits import Budget


class Clock:
    def __init__(self):
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_key_has_its_burst_and_is_then_told_how_long_to_wait():
    budget = Budget("orders", per_s=2, burst_s=2, clock=Clock())
    answers = [budget.take("k") for _ in range(5)]
    assert [answer.allowed for answer in answers] == [True] * 4 + [False]
    assert answers[0].headers == {"RateLimit-Policy": '"orders";q=4;w=2', "RateLimit": '"orders";r=3;t=1'}
    assert answers[4].headers == {
        "RateLimit-Policy": '"orders";q=4;w=2',
        "RateLimit": '"orders";r=0;t=2',
        "Retry-After": "1",
    }


def test_tokens_come_back_with_time_and_never_above_the_burst():
    clock = Clock()
    budget = Budget("orders", per_s=2, burst_s=2, clock=clock)
    for _ in range(4):
        budget.take("k")
    clock.now_s += 1
    assert [budget.take("k").allowed for _ in range(3)] == [True, True, False]
    clock.now_s += 1_000
    assert [budget.take("k").allowed for _ in range(5)] == [True] * 4 + [False]


def test_one_key_does_not_spend_anothers_budget():
    budget = Budget("orders", per_s=1, burst_s=1, clock=Clock())
    assert [budget.take(key).allowed for key in ("a", "a", "b")] == [True, False, True]


def test_a_check_takes_nothing_and_remembers_nobody():
    clock = Clock()
    budget = Budget("orders", per_s=2, burst_s=1, clock=clock)
    for _ in range(9):
        budget.check("k", "spent")
    assert budget._buckets == {}
    assert [budget.take("k").allowed for _ in range(3)] == [True, True, False]
    with pytest.raises(ProblemError) as refused:
        budget.check("k", "spent")
    assert (refused.value.code, refused.value.headers["Retry-After"]) == ("too_many_requests", "1")
    clock.now_s += 1
    budget.check("k", "spent")
    assert [budget.take("k").allowed for _ in range(3)] == [True, True, False]


def test_buckets_take_bounded_memory(monkeypatch):
    monkeypatch.setattr(limits, "BUCKETS_MAX", 100)
    clock = Clock()
    budget = Budget("unsigned", per_s=1, burst_s=2, clock=clock)
    for number in range(99):
        budget.take(f"a{number}")
    clock.now_s += 10
    assert [budget.take("spent").allowed for _ in range(3)] == [True, True, False]
    for number in range(1_000):
        clock.now_s += 0.001
        budget.take(f"b{number}")
        assert len(budget._buckets) <= 100


def test_what_is_owed_is_paid_before_anything_else_is_allowed():
    clock = Clock()
    budget = Budget("messages", per_s=2, burst_s=2, clock=clock)
    budget.owe("k", 10)
    assert (budget.wait_s("k"), budget.take("k").allowed) == (3.5, False)
    clock.now_s += 3.5
    assert (budget.wait_s("k"), budget.take("k").allowed) == (0.0, True)


def test_a_batch_that_takes_nothing_of_a_budget_in_debt_is_not_refused_for_it():
    orders = Budget("orders", per_s=1, burst_s=1, clock=lambda: 100.0)
    orders.owe("k1", 200)
    assert [orders.take("k1", tokens).allowed for tokens in (0, 1)] == [True, False]
