"""Who may dispute what and until when, what rules decide, and from which outage on a block may end."""

import pytest

from schemas.delivery import MeterInterval
from services.delivery.dispute_rules import NotDisputable, require_disputable, side_of, waits_for_a_person
from services.delivery.endings import longest_outage_ms
from services.delivery.settings import Settings
from tests.fixtures.delivery import gpu_uuid
from tests.fixtures.delivery_rows import dispute, position

END_MS, DAY_MS = 3_600_000, 86_400_000
POSITION = {"end_ms": END_MS, "final_ms": DAY_MS}


@pytest.mark.parametrize(
    ("changes", "disputes", "now_ms", "code"),
    [
        ({"revision": 0}, [], END_MS, "not_settled"),
        ({}, [], END_MS + DAY_MS, "too_late"),
        ({"final": True}, [], END_MS, "too_late"),
        ({}, [dispute(state="OPEN", side="operator")], END_MS, "already_disputed"),
        ({}, [dispute(state="DECIDED", side="buyer")], END_MS, "already_disputed"),
        ({}, [dispute(state="WITHDRAWN", side="operator")], END_MS + DAY_MS - 1, ""),
    ],
)
def test_a_position_is_disputed_once_by_each_side_between_its_settlement_and_its_end(changes, disputes, now_ms, code):
    if not code:
        require_disputable(position(**POSITION | changes), disputes, "buyer", now_ms)
        return
    with pytest.raises(NotDisputable) as refusal:
        require_disputable(position(**POSITION | changes), disputes, "buyer", now_ms)
    assert (refusal.value.code, refusal.value.status) == (code, 409)


def test_only_parties_have_a_side():
    assert [side_of(position(), account) for account in ("alice", "ops", "mallory")] == ["buyer", "operator", None]


def test_a_person_looks_at_what_rules_did_not_settle():
    asked = [waits_for_a_person(reason, corrected) for reason in ("no_access", "late_reports") for corrected in (0, 1)]
    assert asked == [True, False, False, False]


def stretch(gpu: int, start_ms: int, end_ms: int, conforming: bool, excused: bool = False) -> MeterInterval:
    facts = {"quality": "O", "used": False, "reason": "", "conforming": conforming, "excused": excused}
    return MeterInterval(gpu=gpu_uuid(gpu), start_ms=start_ms, end_ms=end_ms, **facts)


@pytest.mark.parametrize(
    ("intervals", "now_ms", "longest_ms"),
    [
        ([], 100, 0),
        ([stretch(1, 0, 100, True)], 100, 0),
        ([stretch(1, 0, 40, True), stretch(1, 40, 70, False), stretch(1, 70, 100, False)], 100, 60),
        ([stretch(1, 0, 40, True), stretch(1, 40, 100, False)], 55, 15),
        ([stretch(1, 0, 50, False), stretch(1, 50, 60, False, excused=True), stretch(1, 60, 100, False)], 100, 50),
        ([stretch(1, 50, 100, False), stretch(2, 0, 40, False)], 100, 50),
        ([stretch(1, 0, 100, True), stretch(2, 100, 200, False)], 100, 0),
    ],
)
def test_an_outage_is_the_longest_time_of_one_gpu_that_was_neither_delivered_nor_excused(intervals, now_ms, longest_ms):
    assert longest_outage_ms(intervals, now_ms) == longest_ms


def test_a_block_may_end_after_a_quarter_of_a_period_and_an_arbiter_has_as_long_as_a_day_of_them(tmp_path):
    settings = Settings(data=tmp_path)
    assert (settings.block_outage_ms(3_600_000), settings.dispute_decide_ms(3_600_000)) == (900_000, DAY_MS)
    assert (settings.block_outage_ms(60_000), settings.dispute_decide_ms(60_000)) == (15_000, 1_440_000)
