"""The long run's model of what is right: worked by hand, and held to figures worked by hand."""

from hypothesis import given
from hypothesis import strategies as st

from matching_engine.settlement import settle, undisputed
from tests.long_run.plans import AT_ONCE, GPUS, HOOKS, RENTERS, plan_outage, plan_round
from tests.long_run.truth import (
    Bounds,
    Complaint,
    Moment,
    Presence,
    Recall,
    Rhythm,
    Story,
    Terms,
    Trouble,
    judge,
    money,
)

S, E = 100_000, 120_000
RHYTHM = Rhythm(interval_ms=3_000, lag_ms=500, grace_ms=2_000)
EARLY = Moment(S - 9_000, S - 8_900)
LONG_AFTER = Moment(E + 60_000, E + 60_000)


def at(ms: int, width_ms: int = 100) -> Moment:
    return Moment(S + ms, S + ms + width_ms)


def right_of(*troubles: Trouble, gpus: int = 1, opened: Moment | None = EARLY, presences: tuple = (), **facts: object):
    names = tuple(f"g{number}" for number in range(gpus))
    return judge(Story(names, S, E, EARLY, opened, troubles, presences, **facts), RHYTHM)


def test_an_hour_in_which_nothing_happened_is_delivered_to_the_second():
    right = right_of(gpus=2)
    assert (right.delivered, right.excused, right.short) == (Bounds(40, 40), Bounds(0, 0), Bounds(0, 0))


def test_a_lost_gpu_costs_its_time_from_then_on_and_at_most_the_report_before():
    lost = Trouble("unfit", at(10_000), LONG_AFTER, frozenset({"g1"}))
    right = right_of(lost, gpus=2)
    assert right.delivered == Bounds(26, 30)  # 20 + 10.1 s at most, 3.5 s of a window less at least
    assert right.short == Bounds(8, 14)


def test_a_silence_within_the_gap_limit_costs_nothing_and_a_longer_one_all_of_it():
    short = Trouble("silent", at(5_000), at(9_000))
    assert right_of(short).delivered == Bounds(20, 20)
    long = Trouble("silent", at(3_000), at(15_000))
    assert right_of(long).delivered == Bounds(4, 8)  # lost 11.9 s surely, 15.6 s possibly
    unsure = Trouble("silent", at(5_000), at(13_000))
    assert right_of(unsure).delivered == Bounds(7, 20)


def test_a_reboot_is_never_estimated():
    assert right_of(Trouble("reboot", at(5_000), at(7_000))).delivered == Bounds(13, 18)


def test_a_dark_node_is_paid_for_the_gap_limit_and_what_the_report_that_ends_it_proves():
    right = right_of(Trouble("dark", at(2_000), at(17_000)))
    assert right.delivered.least < 20 and right.delivered.most == 17  # 2.1 s + 9 s + 3 s count, 2.9 s are lost


def test_a_dark_node_may_be_paid_for_all_of_it_where_the_venue_tries_its_door():
    right = right_of(Trouble("dark", at(2_000), at(14_000)), has_door=True)
    assert right.delivered.least < 17 and right.delivered.most == 20


def test_an_outage_within_a_dark_time_uses_up_nothing_of_the_gap_limit():
    """Nobody could have heard the node then: what its operator alone says is the rest, which is within the limit."""
    dark, away = Trouble("dark", at(3_000), at(18_200)), Trouble("outage", at(4_000), at(7_000))
    right = right_of(dark, away)
    assert right_of(dark).delivered.most == 16  # 3.1 s + 9 s + 3 s count, and 1.8 s after it
    assert (right.delivered.most, right.short.least) == (20, 0)


def test_an_outage_of_the_venue_may_be_excused_and_is_nobodys_shortfall():
    right = right_of(Trouble("outage", at(5_000), at(9_000)))
    assert right.short == Bounds(0, 0)
    assert right.delivered.most == 20
    assert right.excused.least == 0 and right.excused.most >= 5


def test_a_buyer_who_was_never_let_in_gets_nothing():
    right = right_of(opened=None)
    assert (right.delivered, right.excused, right.short.most) == (Bounds(0, 0), Bounds(0, 0), 20)


def test_a_hook_that_is_late_has_the_grace_and_no_more():
    right = right_of(opened=at(6_000))
    assert right.delivered == Bounds(13, 14)
    assert (right.excused.least, right.short) == (2, Bounds(3, 5))


def test_what_a_gpu_shows_in_the_grace_of_opening_is_no_shortfall():
    unfit = Trouble("unfit", at(500), LONG_AFTER, frozenset({"g0"}))
    right = right_of(unfit, opened=at(6_000))
    assert (right.delivered, right.excused.least, right.short) == (Bounds(0, 0), 2, Bounds(17, 20))


def test_a_node_that_was_there_and_never_asked_owes_nothing():
    right = judge(Story(("g0",), S, E, None, None), RHYTHM)
    assert (right.delivered, right.short, right.excused) == (Bounds(0, 0), Bounds(0, 0), Bounds(0, 20))


def test_use_is_what_a_process_of_the_buyers_covered_of_the_delivered_time():
    here = Presence(EARLY, at(10_000), frozenset({"g0"}))
    assert right_of(presences=(here,)).used == Bounds(6, 13)
    assert right_of().used == Bounds(0, 0)


def test_a_door_is_lost_time_from_the_first_failed_try_to_the_next_good_one():
    """Tries lie at most 3 s apart, and it may be shut for 3 s."""
    long = right_of(Trouble("shut", at(2_000), at(14_000)))
    assert (long.delivered, long.short) == (Bounds(4, 11), Bounds(7, 16))  # 8.9 s surely, 15.1 s possibly
    assert right_of(Trouble("shut", at(2_000), at(4_500))).delivered == Bounds(20, 20)
    unsure = right_of(Trouble("shut", at(2_000), at(9_000)))
    assert (unsure.delivered, unsure.short.least) == (Bounds(9, 20), 0)


def test_what_is_taken_back_counts_no_more_and_notice_is_for_all_or_none():
    with_notice = Recall(at(5_000), True, frozenset({"g0"}))
    right = right_of(gpus=2, recalls=(with_notice,))
    assert (right.delivered, right.short) == (Bounds(25, 25), Bounds(13, 15))
    assert (right.recalled, right.noticed) == (Bounds(0, 0), Bounds(1, 1))
    assert right.allows_recall(1, True) and not right.allows_recall(1, False) and not right.allows_recall(0, False)
    lost = Trouble("unfit", at(4_000), LONG_AFTER, frozenset({"g1"}))
    right = right_of(lost, gpus=2, recalls=(with_notice,))
    assert (right.recalled, right.noticed) == (Bounds(1, 1), Bounds(1, 1))
    assert right.allows_recall(1, False) and not right.allows_recall(1, True)
    right = right_of(gpus=2, recalls=(Recall(at(5_000), False),))
    assert (right.delivered, right.recalled, right.noticed) == (Bounds(10, 10), Bounds(2, 2), Bounds(0, 0))


def test_maintenance_that_was_declared_is_excused_whatever_happens_in_it():
    window = ((S - 2_000, S + 6_000),)
    assert right_of(maintenance=window).excused == Bounds(6, 6)
    lost = Trouble("unfit", at(1_000), LONG_AFTER, frozenset({"g0"}))
    right = right_of(lost, maintenance=window)
    assert (right.delivered, right.excused, right.short) == (Bounds(0, 0), Bounds(6, 6), Bounds(13, 14))


def test_what_the_renters_meter_denies_is_in_dispute_and_nobodys_shortfall():
    complaint = Complaint(at(10_000), LONG_AFTER, frozenset({"g0"}))
    right = right_of(gpus=2, metered=True, complaints=(complaint,))
    # His report of a moment stands for up to 3.5 s before it, while the venue answers slowly for 8.
    assert (right.disputed, right.delivered, right.short) == (Bounds(6, 18), Bounds(22, 33), Bounds(0, 0))
    briefly = Complaint(at(19_990, 0), at(20_000), frozenset({"g0"}))
    assert right_of(gpus=2, complaints=(briefly,)).disputed.least == 0


def test_what_the_renters_own_meter_may_have_called_well_is_not_surely_lost():
    silent = Trouble("silent", at(3_000), at(15_000))
    assert right_of(silent, metered=True).delivered == Bounds(4, 20)
    assert right_of(silent).delivered.most == 8


# Delivered GPU-seconds of 8 × 3600, gross and damages in cents (worked by hand).
MARKETS_OWN = ((28_800, 1600, 0), (28_080, 1560, 11), (24_000, 1333, 273), (0, 0, 800))


def test_the_money_is_that_of_markets_worked_figures():
    terms = Terms(8, 3600, 2_000_000, 2_400_000, "F", 1000, 990, 800, 8_000_000, 100)
    for delivered, gross, damages in MARKETS_OWN:
        due = money(terms, delivered, 0, delivered)
        assert (due.gross // 10_000, due.damages // 10_000) == (gross, damages), delivered
        assert due.buyer + due.operator + due.fee == 0


@given(st.data())
def test_the_money_is_the_engines_on_any_inputs(data):
    qty, period_s = data.draw(st.integers(1, 8)), data.draw(st.sampled_from((20, 60, 3600)))
    excused = data.draw(st.integers(0, qty * period_s))
    delivered = data.draw(st.integers(0, qty * period_s - excused))
    used = data.draw(st.integers(0, delivered))
    price, index = data.draw(st.integers(1, 10**9)), data.draw(st.integers(1, 10**9))
    tier, bond = data.draw(st.sampled_from("FIM")), data.draw(st.integers(0, 10**10))
    recalled, noticed = data.draw(st.integers(0, qty)), data.draw(st.booleans())
    disputed = data.draw(st.integers(0, qty * period_s - excused - delivered))
    reserved = 300 if tier == "M" else 1000
    terms = Terms(qty, period_s, price, index, tier, reserved, 990, 800, bond, 100)
    ours = money(terms, delivered, excused, used, recalled, noticed, disputed)
    shape = {"q": qty, "T": period_s, "P": price, "I": index, "E": excused, "r": reserved, "hi": 990, "lo": 800}
    recall = {"interruptible": tier == "I", "noticed": noticed, "recalled_gpus": recalled}
    low, high = (
        settle(**shape, bond=bond, fee_bps=100, D=D, U=used, **recall) for D in (delivered, delivered + disputed)
    )
    theirs = undisputed(low, high)
    assert tuple(ours) == (theirs.gross, theirs.ld, theirs.fee, theirs.buyer, theirs.operator)


def test_a_plan_follows_from_seed_and_number_alone_and_all_kinds_come_up():
    plans = [plan_round(1, number) for number in range(500)]
    assert plans[37] == plan_round(1, 37)
    assert all(sum(plan.parts) == GPUS for plan in plans)
    kinds = {accident.kind for plan in plans for accident in plan.accidents}
    assert len(kinds) == 17, kinds
    assert {plan.hook for plan in plans} == {hook for hook, _ in HOOKS}
    assert {renter for plan in plans for renter in plan.renters} == {renter for renter, _ in RENTERS}
    assert {meter for plan in plans for meter in plan.meters} == {"none", "agrees", "denies"}
    assert any(plan.maintenance for plan in plans)
    assert {plan.number % AT_ONCE for plan in plans if plan.has_door} == {0}


def test_in_tier_i_half_of_the_rounds_have_a_recall():
    struck = [{accident.kind for accident in plan_round(1, number, "I").accidents} for number in range(200)]
    assert 80 < sum("recall" in kinds for kinds in struck) < 120
    assert any(plan_outage(1, period) for period in range(30))
