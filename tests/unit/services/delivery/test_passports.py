"""The tally of a GPU's readings: time, the highest of everything, and a counter that goes back."""

import pytest

from schemas.gpu_health import DEGRADING_XIDS, FATAL_XIDS
from services.delivery.histories import NodeTally
from services.delivery.passports import COUNTERS, XIDS_MAX, GpuTally
from tests.fixtures.delivery import TestNode, reported
from tests.fixtures.used_hardware import CLEAN_COUNTERS, reading, uuid_of

NAMES = (
    *("uuid", "first_ms", "last_ms", "reports", "reported_ms", "throttled_ms", "temperature_c_max", *COUNTERS),
    *("remap_failed", "xids", "went_back", *(f"low_{name}" for name in COUNTERS)),
)
LOWS = {f"low_{name}": 0 for name in COUNTERS}
CLEAN = {
    **{"uuid": uuid_of(1), "first_ms": 1_000, "last_ms": 1_000, "reports": 1, "reported_ms": 10_000},
    **{"throttled_ms": 0, "temperature_c_max": None, **CLEAN_COUNTERS, **LOWS},
    **{"remap_failed": False, "xids": "", "went_back": False},
}


def tallied(*readings, window_ms: int = 10_000) -> dict[str, object]:
    tally = GpuTally(1_000)
    for number, each in enumerate(readings):
        tally.add(each, 1_000 * (number + 1), window_ms)
    return dict(zip(NAMES, tally.row(uuid_of(1)), strict=True))


def test_a_report_adds_its_window_and_the_highest_of_everything():
    shown = tallied(
        reading(temperature_c=61, xid=(13,)),
        reading(temperature_c=84, throttle=0x40, ecc_corrected=2, xid=(79, 13)),
        reading(temperature_c=50, ecc_corrected=2, remapped_correctable=1),
    )
    times = {"last_ms": 3_000, "reports": 3, "reported_ms": 30_000, "throttled_ms": 10_000, "temperature_c_max": 84}
    assert shown == CLEAN | times | {"ecc_corrected": 2, "remapped_correctable": 1, "xids": "13,79"}


@pytest.mark.parametrize("counter", CLEAN_COUNTERS)
def test_a_counter_that_goes_back_is_remembered_for_good(counter):  # L12
    shown = tallied(reading(**{counter: 7}), reading(**{counter: 3}), reading(**{counter: 8}))
    assert (shown["went_back"], shown[counter], shown[f"low_{counter}"]) == (True, 8, 3)


def test_what_the_driver_does_not_tell_changes_nothing():
    silent = reading(**dict.fromkeys(CLEAN_COUNTERS))
    assert tallied(reading(ecc_uncorrected=7), silent)["ecc_uncorrected"] == 7
    assert tallied(silent)["ecc_uncorrected"] is None
    assert not tallied(reading(ecc_uncorrected=7), silent, reading(ecc_uncorrected=7))["went_back"]


def test_a_gpu_that_did_not_answer_proves_no_time_but_its_xids_count():
    shown = tallied(reading(), reading(present=False, healthy=False, xid=(79,)))
    assert shown == CLEAN | {"last_ms": 2_000, "xids": "79"}


def test_a_window_proves_no_more_than_a_minute():
    assert tallied(reading(), window_ms=3_600_000)["reported_ms"] == 60_000


def test_a_report_writes_into_its_own_nodes_records_alone_and_each_gpu_once():
    node, mine, tally = TestNode(), uuid_of(1), NodeTally(0)
    gpus = (reading(1, ecc_corrected=9), reading(2, ecc_uncorrected=7), reading(1))
    tally.add(reported(node.report("a" * 64, 0, 10_000, gpus=gpus), 1_000), {mine})
    assert {uuid: dict(zip(NAMES, each.row(uuid), strict=True)) for uuid, each in tally.gpus.items()} == {mine: CLEAN}


def test_harmless_xids_never_push_out_those_that_speak_of_a_fault():
    grave = (*FATAL_XIDS, *DEGRADING_XIDS)
    noise = tuple(range(200, 200 + XIDS_MAX)) + tuple(range(XIDS_MAX))
    shown = [int(xid) for xid in tallied(reading(xid=grave), reading(xid=noise))["xids"].split(",")]
    assert len(shown) == XIDS_MAX and set(grave) <= set(shown)
