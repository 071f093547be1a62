"""A GPU's passport: what its reports come to, whatever the order of batches, and a counter that goes back."""

from dataclasses import replace

import pytest

from schemas.gpu_health import DEGRADING_XIDS, FATAL_XIDS
from services.delivery.passports import XIDS_MAX, GpuHistory, Readings, after_reading, columns_of, xids_of
from tests.fixtures.delivery import TestNode, reported
from tests.fixtures.used_hardware import CLEAN_COUNTERS, reading, uuid_of

CLEAN = GpuHistory(uuid_of(1), 1_000, 1_000, reports=1, reported_ms=10_000, **CLEAN_COUNTERS)


def history(*readings, known=None) -> GpuHistory:
    for number, each in enumerate(readings):
        known = after_reading(known, each, 1_000 * (number + 1), 10_000)
    return known


def test_a_report_adds_its_window_and_the_highest_of_everything():
    shown = history(
        reading(temperature_c=61, xid=(13,)),
        reading(temperature_c=84, throttle=0x40, ecc_corrected=2, xid=(79, 13)),
        reading(temperature_c=50, ecc_corrected=2, remapped_correctable=1),
    )
    expected = replace(CLEAN, last_ms=3_000, reports=3, reported_ms=30_000, throttled_ms=10_000, temperature_c_max=84)
    assert shown == replace(expected, ecc_corrected=2, remapped_correctable=1, xids="13,79")
    assert xids_of(shown) == (13, 79)


@pytest.mark.parametrize("counter", CLEAN_COUNTERS)
def test_a_counter_that_goes_back_is_remembered_for_good(counter):  # L12
    shown = history(reading(**{counter: 7}), reading(**{counter: 3}), reading(**{counter: 8}))
    assert (shown.counters_went_back, getattr(shown, counter)) == (True, 8)


def test_what_the_driver_does_not_tell_changes_nothing():
    silent = reading(**dict.fromkeys(CLEAN_COUNTERS))
    assert history(reading(ecc_uncorrected=7), silent).ecc_uncorrected == 7
    assert history(silent).ecc_uncorrected is None
    assert not history(reading(ecc_uncorrected=7), silent, reading(ecc_uncorrected=7)).counters_went_back


def test_a_gpu_that_did_not_answer_proves_no_time_but_its_xids_count():
    shown = history(reading(), reading(present=False, healthy=False, xid=(79,)))
    assert shown == replace(CLEAN, last_ms=2_000, xids="79")


def test_a_window_proves_no_more_than_a_minute():
    assert after_reading(None, reading(), 1_000, 3_600_000).reported_ms == 60_000


def test_columns_have_the_order_of_the_table():
    assert [column[0] for column in columns_of([CLEAN])][:5] == [uuid_of(1), 1_000, 1_000, 1, 10_000]


def test_a_report_writes_into_its_own_nodes_records_alone_and_each_gpu_once():
    node, mine, others = TestNode(), uuid_of(1), uuid_of(2)
    gpus = (reading(1, ecc_corrected=9), reading(2, ecc_uncorrected=7), reading(1))
    readings = Readings()
    readings.add(reported(node.report("a" * 64, 0, 10_000, gpus=gpus), 1_000), {mine})
    assert readings.uuids() == [mine]
    assert others not in readings.fold({})[0]
    readings.add(reported(node.report("a" * 64, 10_000, 20_000, gpus=gpus), 1_000), {mine})
    assert readings.fold({}) == columns_of([CLEAN])


def test_harmless_xids_never_push_out_those_that_speak_of_a_fault():
    grave = (*FATAL_XIDS, *DEGRADING_XIDS)
    noise = tuple(range(200, 200 + XIDS_MAX)) + tuple(range(XIDS_MAX))
    shown = xids_of(history(reading(xid=grave), reading(xid=noise)))
    assert len(shown) == XIDS_MAX and set(grave) <= set(shown)
