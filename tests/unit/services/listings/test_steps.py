"""A sale's states, steps and parties, all of them; and money is never stuck: time alone brings every sale to an end."""

from itertools import product
from typing import get_args

import pytest

from schemas.listings import ListingState
from services.listings.domain import (
    ASKED_OF_ENGINE,
    ENDED,
    STEPS,
    TIMEOUTS,
    AlreadyBought,
    NotAParty,
    Periods,
    WrongState,
    check_party,
    check_purchase,
    default_outcome,
    next_state,
)
from services.listings.settings import Settings

STATES = get_args(ListingState)
DAY_MS = 86_400_000
# Who may take which step from which state into which: what the rulebook says, written down a second time.
TABLE = """
LOCKING     locked                engine   LISTED
LOCKING     lock_refused          engine   REFUSED
LISTED      buy                   anyone   FUNDING
LISTED      withdraw              seller   WITHDRAWING
LISTED      barred                venue    WITHDRAWING
FUNDING     funded                engine   FUNDED
FUNDING     funding_refused       engine   LISTED
FUNDED      ship                  seller   SHIPPED
FUNDED      cancel                buyer    REFUNDING
FUNDED      dispute               party    DISPUTED
FUNDED      not_shipped           time     REFUNDING
SHIPPED     receive               buyer    INSPECTING
SHIPPED     dispute               party    DISPUTED
SHIPPED     received_by_time      time     INSPECTING
INSPECTING  accept                buyer    RELEASING
INSPECTING  reject                buyer    REJECTED
INSPECTING  dispute               party    DISPUTED
INSPECTING  accepted_by_time      time     RELEASING
REJECTED    return                buyer    RETURNING
REJECTED    returned              seller   RETURNED
REJECTED    dispute               party    DISPUTED
REJECTED    not_returned          time     DISPUTED
RETURNING   returned              seller   RETURNED
RETURNING   dispute               party    DISPUTED
RETURNING   return_not_confirmed  time     DISPUTED
DISPUTED    accept                buyer    RELEASING
DISPUTED    release               arbiter  RELEASING
DISPUTED    refund                arbiter  REFUNDING
DISPUTED    refunded_by_time      time     REFUNDING
RELEASING   released              engine   RELEASED
RETURNED    refunded              engine   REFUNDED
REFUNDING   refunded              engine   REFUNDED
REFUNDED    unlocked              engine   WITHDRAWN
WITHDRAWING unlocked              engine   WITHDRAWN
"""
RULES = {(state, step): (by, after) for state, step, by, after in map(str.split, TABLE.strip().splitlines())}
HOLDS_MONEY = (
    "FUNDED",
    "SHIPPED",
    "INSPECTING",
    "RELEASING",
    "REJECTED",
    "RETURNING",
    "RETURNED",
    "DISPUTED",
    "REFUNDING",
)
ACCOUNTS = ("seller", "buyer", "stranger")
ALLOWED = {
    "seller": {"seller"},
    "buyer": {"buyer"},
    "party": {"seller", "buyer"},
    "arbiter": {"stranger"},
    "anyone": {"buyer", "stranger"},
    "engine": set(ACCOUNTS),  # never asked for by a request
    "time": set(ACCOUNTS),
    "venue": set(ACCOUNTS),
}


def taken(step: str, state: str, account: str) -> str:
    """The state after the step, or the refusal's code."""
    try:
        check_party(step, account, "seller", "buyer")
        return next_state(step, state)
    except (NotAParty, WrongState) as refused:
        return refused.code


def test_each_step_is_taken_in_its_states_by_its_parties_and_in_no_other_way():
    for step, state, account in product(STEPS, STATES, ACCOUNTS):
        by, after = RULES.get((state, step), (STEPS[step].by, "wrong_state"))
        assert taken(step, state, account) == (after if account in ALLOWED[by] else "not_yours"), (step, state, account)


def test_every_state_is_reached_and_only_an_ended_listing_stays():
    assert {after for _, after in RULES.values()} == set(STATES) - {"LOCKING"}
    assert set(STATES) - {state for state, _ in RULES} == set(ENDED)


def test_a_state_that_holds_money_has_a_deadline_with_an_outcome_or_waits_for_the_engine():
    periods = Settings().periods
    for state in HOLDS_MONEY:
        assert periods.deadline_ms(state, 1) is not None
        assert (default_outcome(state) is None) == (state in ASKED_OF_ENGINE)
    assert [state for state in STATES if periods.deadline_ms(state, 1) is None] == [
        "LISTED",
        "REFUSED",
        "RELEASED",
        "WITHDRAWN",
    ]


@pytest.mark.parametrize("state", HOLDS_MONEY)
def test_time_alone_ends_every_sale_that_holds_money(state):
    """Holds [H-5]"""
    periods, since_ms, walked = Settings().periods, 0, [state]
    while state not in ASKED_OF_ENGINE:
        step, _ = TIMEOUTS[state]
        since_ms, state = periods.deadline_ms(state, since_ms), next_state(step, state)
        walked.append(state)
        assert len(walked) < 6, walked
    assert ASKED_OF_ENGINE[state] in ("release", "refund")
    assert since_ms <= (14 + 14 + 30) * DAY_MS


@pytest.mark.parametrize(
    ("state", "days"),
    [("FUNDED", 5), ("SHIPPED", 14), ("INSPECTING", 5), ("REJECTED", 14), ("RETURNING", 14), ("DISPUTED", 30)],
)
def test_the_deadlines_are_the_markets_and_a_sandbox_scales_them_by_one_figure(state, days):
    assert Settings().periods.deadline_ms(state, 7) == 7 + days * DAY_MS
    assert Settings(listings_day_ms=1_000).periods.deadline_ms(state, 7) == 7 + days * 1_000


def test_a_repeated_purchase_is_told_from_a_rivals():  # F15
    with pytest.raises(AlreadyBought, match="already"):
        check_purchase("buyer", "FUNDED", "buyer")
    check_purchase("rival", "FUNDED", "buyer")
    with pytest.raises(WrongState):
        next_state("buy", "FUNDED")


def test_an_arbiter_does_not_judge_a_sale_of_his_own():
    for account in ("seller", "buyer"):
        assert taken("release", "DISPUTED", account) == "not_yours"


def test_periods_name_every_state_that_times_out():
    periods = Periods(ship=1, receive=2, inspect=3, give_back=4, confirm=5, dispute=6, engine=7)
    assert {state: periods.deadline_ms(state, 0) for state in TIMEOUTS} == {
        "FUNDED": 1,
        "SHIPPED": 2,
        "INSPECTING": 3,
        "REJECTED": 4,
        "RETURNING": 5,
        "DISPUTED": 6,
    }
