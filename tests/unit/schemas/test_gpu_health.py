"""The one rule of a GPU's health: XIDs, counters, what lasts, and the bytes of records made before it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.gpu_health import GpuHealth, degradation_of, fault_of, judge_reading, next_health
from schemas.nodes import GpuReading
from tests.fixtures.delivery import gpu_uuid, reading

GPU = gpu_uuid(1)
BEFORE = (
    b'{"uuid":"GPU-00000001-0000-0000-0000-000000000000","present":true,"healthy":true,"memory_total_mib":81559,'
    b'"memory_used_mib":0,"utilisation_percent":0,"power_mw":70000,"energy_mj":1000,"temperature_c":35,'
    b'"sm_clock_mhz":1980,"memory_clock_mhz":2619,"throttle":0,"ecc_corrected":0,"ecc_uncorrected":0,'
    b'"remapped_correctable":0,"remapped_uncorrectable":0,"remap_failed":false,"mig_enabled":false,"xid":[],'
    b'"processes":[]}'
)


def test_a_reading_signed_before_fields_were_added_keeps_its_bytes_and_so_its_hash():
    assert GpuReading.from_canonical(BEFORE).canonical() == BEFORE


@pytest.mark.parametrize(
    ("changes", "fault", "degraded"),
    [
        ({}, "", ""),
        *(({"xid": (xid,)}, f"xid_{xid}", "") for xid in (48, 64, 79, 95, 119, 120, 140)),
        *(({"xid": (xid,)}, "", f"xid_{xid}") for xid in (63, 74, 109)),
        *(({"xid": (xid,)}, "", "") for xid in (8, 13, 31, 32, 37, 43, 45, 68, 69, 92, 94, 154, 9999)),
        ({"xid": (13, 79, 95)}, "xid_79", ""),
        ({"recovery_action": 0}, "", ""),
        *(({"recovery_action": action}, "recovery_action", "") for action in (1, 2, 3, 4)),
        ({"remap_failed": True}, "row_remap_failed", ""),
        ({"remap_pending": True}, "", "row_remap_pending"),
        ({"mig_enabled": True, "utilisation_percent": None}, "mig_enabled", ""),
        ({"memory_total_mib": 40_000}, "too_little_memory", ""),
        ({"memory_total_mib": None, "memory_used_mib": None}, "", ""),
        ({"healthy": False}, "unhealthy", ""),
        ({"healthy": False, "fault": "ecc_uncorrected"}, "ecc_uncorrected", ""),
        ({"present": False, "healthy": False}, "gpu_lost", ""),
        ({"present": False, "healthy": False, "blind": True}, "meter_blind", ""),
        *(({"fabric_state": state}, "", "fabric_not_ready") for state in (1, 2)),
        *(({"fabric_state": state}, "", "") for state in (0, 3, None)),
        ({"nvlinks_down": 1}, "", "nvlink_down"),
        ({"nvlinks_down": 0}, "", ""),
    ],
)
def test_a_reading_is_judged_by_the_table(changes, fault, degraded):
    seen = reading(GPU, **changes)
    assert (fault_of(seen, 72_479), degradation_of(seen, whole_node=True)) == (fault, degraded)


def test_links_between_gpus_do_not_matter_where_gpus_are_sold_singly():
    assert degradation_of(reading(GPU, fabric_state=2, nvlinks_down=18), whole_node=False) == ""


def health_after(*readings: GpuReading, boot_ids: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    """Returns fault and degradation after each reading."""
    health, seen = GpuHealth(), []
    for index, each in enumerate(readings):
        health = next_health(health, each, boot_ids[index] if boot_ids else "boot-1", 72_479)
        seen.append((health.fault, health.degraded))
    return seen


WELL = reading(GPU, energy_mj=1_000)


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"xid": (95,)}, ("xid_95", "")),
        ({"xid": (63,)}, ("", "xid_63")),
        ({"ecc_uncorrected": 3}, ("ecc_uncorrected", "")),
        ({"remap_failed": True}, ("row_remap_failed", "")),
    ],
)
def test_what_lasts_is_over_after_a_reboot_or_a_reset_and_not_before(changes, shown):
    broken = reading(GPU, **({"energy_mj": 2_000} | changes))
    later, reset = reading(GPU, energy_mj=3_000), reading(GPU, energy_mj=10)
    lost = reading(GPU, present=False, healthy=False)
    assert health_after(WELL, broken, lost, later) == [("", ""), shown, (shown[0] or "gpu_lost", shown[1]), shown]
    assert health_after(WELL, broken, reset, later) == [("", ""), shown, ("", ""), ("", "")]
    boots = ("boot-1", "boot-1", "boot-2")
    assert health_after(WELL, broken, later, boot_ids=boots) == [("", ""), shown, ("", "")]


@pytest.mark.parametrize("changes", [{"mig_enabled": True}, {"recovery_action": 1}, {"healthy": False}])
def test_what_only_shows_is_over_when_it_shows_no_more(changes):
    shown = (fault_of(reading(GPU, **changes), 0), "")
    assert health_after(WELL, reading(GPU, **changes), WELL) == [("", ""), shown, ("", "")]


def test_an_error_that_a_contained_one_explains_is_no_fault_and_the_next_one_is():
    same_window = reading(GPU, xid=(94,), ecc_uncorrected=1)
    count_comes_later = reading(GPU, xid=(94,))
    assert health_after(WELL, same_window, reading(GPU, ecc_uncorrected=1))[1:] == [("", "")] * 2
    assert health_after(WELL, count_comes_later, reading(GPU, ecc_uncorrected=1))[1:] == [("", "")] * 2
    assert health_after(WELL, same_window, reading(GPU, ecc_uncorrected=2))[2] == ("ecc_uncorrected", "")


def test_a_lifetime_count_that_was_there_before_is_no_fault_and_one_that_falls_is_counted_on_from_there():
    counts = [reading(GPU, ecc_uncorrected=count) for count in (7, 7, None, 2, 2)]
    assert health_after(*counts) == [("", "")] * 5
    assert health_after(*counts, reading(GPU, ecc_uncorrected=3))[5] == ("ecc_uncorrected", "")


def each_of(**values: tuple) -> st.SearchStrategy:
    """Facts of which most are as usual: the first value of each."""
    return st.dictionaries(st.sampled_from(sorted(values)), st.integers(0, 9), max_size=2).map(
        lambda picked: {name: each[picked.get(name, 0) % len(each)] for name, each in values.items()}
    )


@given(
    each_of(
        boot_id=("boot-1", "boot-0"),
        fault=("", "xid_79", "gpu_lost"),
        degraded=("", "xid_63", "throttled"),
        ecc_uncorrected=(0, None, 3),
        energy_mj=(None, 5_000),
        contained=(False, True),
    ),
    each_of(
        present=(True, False),
        healthy=(True, False),
        blind=(False, True),
        memory_total_mib=(81_559, None, 40_000),
        ecc_uncorrected=(0, None, 3),
        xid=((), (79,), (63,), (94,), (31,)),
        remap_failed=(False, True),
        mig_enabled=(False, True),
        remap_pending=(False, True),
        recovery_action=(None, 0, 2),
        fabric_state=(None, 0, 2, 3),
        nvlinks_down=(None, 0, 1),
        withheld=("", "throttled", "busy"),
    ),
    st.booleans(),
)
def test_a_reading_that_says_nothing_new_is_judged_as_by_every_rule(before, changes, whole_node):
    facts = (GpuHealth(**before), reading(GPU, **changes), "boot-1", 72_479, whole_node)
    assert next_health(*facts) == judge_reading(*facts)
