"""Levels: what makes a node rise, and what takes it down at once."""

from dataclasses import replace

import pytest

from services.delivery.levels import Record, Standing, next_level
from services.delivery.settings import Settings

BARS = Settings().level_bars
HOURS = 3_600
GOOD = Record(
    positions=30,
    owed_gpu_s=30 * HOURS,
    delivered_gpu_s=30 * HOURS,
    two_sided=10,
    two_sided_gpu_s=10 * HOURS,
    disputed_gpu_s=0,
)
NEW = Standing("T1", is_held=False, level_max="T3", days=30, records={"T2": GOOD, "T3": GOOD}, is_audited=False)


def level_after(start: str = "T1", record: Record = GOOD, **changes: object) -> str:
    return next_level(replace(NEW, level=start, records={"T2": record, "T3": record}, **changes), BARS)


def delivered(permille: int) -> Record:
    return replace(GOOD, owed_gpu_s=1_000, delivered_gpu_s=permille)


def disputed(gpu_s: int) -> Record:
    return replace(GOOD, two_sided_gpu_s=1_000, disputed_gpu_s=gpu_s)


def test_a_proven_node_rises_from_t0_at_once_and_one_that_is_held_stays():
    assert level_after("T0", Record(), days=0) == "T1"
    assert level_after("T0", Record(), days=0, is_held=True) == "T0"


@pytest.mark.parametrize(
    ("changes", "level"),
    [
        ({}, "T2"),
        ({"days": 29}, "T1"),
        ({"is_held": True}, "T1"),
        ({"level_max": "T1"}, "T1"),
        ({"record": replace(GOOD, positions=29)}, "T1"),
        ({"record": replace(GOOD, two_sided=9)}, "T1"),
        ({"record": delivered(990)}, "T2"),
        ({"record": delivered(989)}, "T1"),
        ({"record": disputed(5)}, "T2"),
        ({"record": disputed(6)}, "T1"),
    ],
)
def test_t2_takes_thirty_days_ninety_nine_per_cent_and_meters_that_agree(changes, level):
    assert level_after(**changes) == level


@pytest.mark.parametrize(
    ("changes", "level"),
    [
        ({}, "T3"),
        ({"days": 89}, "T2"),
        ({"is_audited": False}, "T2"),
        ({"record": delivered(995)}, "T3"),
        ({"record": delivered(994)}, "T2"),
        ({"is_held": True}, "T2"),
    ],
)
def test_t3_takes_ninety_days_more_and_an_audit(changes, level):
    assert level_after("T2", **({"days": 90, "is_audited": True} | changes)) == level


@pytest.mark.parametrize(
    ("start", "changes", "level"),
    [
        ("T3", {"is_audited": True, "record": delivered(994)}, "T2"),
        ("T3", {"is_audited": True, "record": delivered(989)}, "T1"),
        ("T3", {"is_audited": True, "record": disputed(6)}, "T1"),
        ("T3", {"is_audited": False}, "T2"),
        ("T2", {"record": delivered(989), "is_held": True}, "T1"),
        ("T2", {"level_max": "T1"}, "T1"),
        ("T2", {"record": Record(), "days": 0}, "T2"),
        ("T1", {"record": delivered(0)}, "T1"),
    ],
)
def test_what_a_record_does_not_bear_out_any_more_is_lost_at_once_and_a_time_without_sales_costs_nothing(
    start, changes, level
):
    """Holds [D-24]"""
    assert level_after(start, **changes) == level
