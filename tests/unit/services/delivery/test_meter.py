"""The meter against whole outcomes: gaps, faults, foreign work, late access. [D-16] [D-17] [D-18] [D-19] [D-20]"""

import pytest

from schemas.delivery import DisprovenTime, Excuse, MeterInputs, MeterInterval, MeterOutcome, Recall, Witness
from schemas.nodes import NodeReported
from services.delivery.meter import RecordsDiffer, cite_report, measure, meter_digest, place_windows
from tests.fixtures.delivery import TestNode, gpu_uuid, process, reading, reported

G1, G2 = gpu_uuid(1), gpu_uuid(2)
STEP_MS = 10_000
START_MS, END_MS = 1_000_000, 1_100_000
LEASE = "lease-7"


def inputs_for(records, **changes) -> MeterInputs:
    facts = {
        "position_id": 7,
        "contract": "H100SXM80.CNE.F-26112213",
        "node": "node-1",
        "lease_id": LEASE,
        "qty": 2,
        "gpus": (G1, G2),
        "start_ms": START_MS,
        "end_ms": END_MS,
        "offered_ms": START_MS - 60_000,
        "access_ms": START_MS - 30_000,
        "released_ms": None,
        "memory_min_mib": 72_479,
        "gap_ms_max": 30_000,
        "throttle_ms_max": 60_000,
        "reports": tuple(map(cite_report, records)),
    }
    return MeterInputs(**(facts | changes))


def honest_records(node: TestNode, times_ms, gpus_at=lambda ms: {}, queued=lambda ms: False) -> list[NodeReported]:
    """Reports whose windows end at these server times, sent at once; the node's clock reads server time − 900,000."""
    records, before_ms = [], times_ms[0] - STEP_MS
    for now_ms in times_ms:
        facts = {uuid: {"energy_mj": now_ms} for uuid in node.gpus}
        for uuid, changes in gpus_at(now_ms).items():
            facts[uuid] |= changes
        is_queued = queued(now_ms)
        report = node.report(
            "a" * 64,
            before_ms - 900_000,
            now_ms - 900_000,
            gpus=tuple(reading(uuid, **changes) for uuid, changes in facts.items()),
            queued=is_queued,
        )
        records.append(reported(report, now_ms, None if is_queued else before_ms))
        before_ms = now_ms
    return records


def every_step(first_ms: int = START_MS - 5_000, last_ms: int = END_MS + 10_000) -> list[int]:
    return list(range(first_ms, last_ms + 1, STEP_MS))


def interval(gpu, start_ms, end_ms, quality="O", conforming=True, used=False, reason="") -> MeterInterval:
    return MeterInterval(
        gpu=gpu,
        start_ms=start_ms,
        end_ms=end_ms,
        quality=quality,
        conforming=conforming,
        used=used,
        reason=reason,
    )


def measure_records(records, **changes) -> MeterOutcome:
    return measure(inputs_for(records, **changes), records)


def test_an_honest_window_is_delivered_whole():
    assert measure_records(honest_records(TestNode(), every_step())) == MeterOutcome(
        delivered_gpu_s=200,
        excused_gpu_s=0,
        used_gpu_s=0,
        quality_gpu_ms={"O": 200_000},
        intervals=(interval(G1, START_MS, END_MS), interval(G2, START_MS, END_MS)),
    )


def test_a_gpu_lost_in_mid_delivery_stops_counting_from_the_window_in_which_it_went():
    def lost(now_ms):
        return {G2: {"present": False, "healthy": False}} if now_ms >= START_MS + 45_000 else {}

    outcome = measure_records(honest_records(TestNode(), every_step(), lost))
    assert outcome.intervals == (
        interval(G1, START_MS, END_MS),
        interval(G2, START_MS, START_MS + 35_000),
        interval(G2, START_MS + 35_000, END_MS, conforming=False, reason="gpu_lost"),
    )
    assert outcome.delivered_gpu_s == 135


def test_a_lost_gpu_that_comes_back_counts_again():
    def lost(now_ms):
        return {G2: {"present": False}} if START_MS + 45_000 <= now_ms < START_MS + 65_000 else {}

    assert measure_records(honest_records(TestNode(), every_step(), lost)).delivered_gpu_s == 180


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"xid": (79,)}, "xid_79"),
        ({"ecc_uncorrected": 1}, "ecc_uncorrected"),
        ({"remap_failed": True}, "row_remap_failed"),
    ],
)
def test_a_fault_of_the_hardware_counts_until_the_node_reboots(changes, reason):
    def broken(now_ms):
        return {G1: changes} if now_ms == START_MS + 45_000 else {}

    assert measure_records(honest_records(TestNode(), every_step(), broken)).intervals[:2] == (
        interval(G1, START_MS, START_MS + 35_000),
        interval(G1, START_MS + 35_000, END_MS, conforming=False, reason=reason),
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"memory_total_mib": 40_000}, "too_little_memory"),
        ({"mig_enabled": True}, "mig_enabled"),
        ({"healthy": False}, "unhealthy"),
        ({"recovery_action": 1, "ecc_uncorrected": None}, "recovery_action"),
        ({"processes": (process(None),)}, "foreign_process"),
        ({"processes": (process("lease-8"), process(LEASE))}, "foreign_process"),
    ],
)
def test_what_shows_in_one_window_costs_that_window(changes, reason):
    def odd(now_ms):
        return {G1: changes} if now_ms == START_MS + 45_000 else {}

    outcome = measure_records(honest_records(TestNode(), every_step(), odd))
    assert outcome.intervals[1] == interval(G1, START_MS + 35_000, START_MS + 45_000, conforming=False, reason=reason)
    assert outcome.delivered_gpu_s == 190


@pytest.mark.parametrize(
    "xid",
    [8, 13, 31, 32, 43, 45, 68, 69, 94, 63, 74, 109],
)
def test_what_an_application_can_raise_and_what_only_degrades_leaves_the_hour_whole(xid):
    def raised(now_ms):
        return {G1: {"xid": (xid,), "ecc_uncorrected": 1 if xid == 94 else 0}} if now_ms == START_MS + 45_000 else {}

    assert measure_records(honest_records(TestNode(), every_step(), raised)).delivered_gpu_s == 200


def test_an_uncorrectable_error_stays_a_fault_over_a_restart_of_the_agent_in_the_same_boot():  # M21
    def broken(now_ms):
        if now_ms < START_MS + 15_000:
            return {}
        # The agent says why until it is started again; then it takes the count for an old one.
        verdict = {"healthy": False, "fault": "ecc_uncorrected"} if now_ms < START_MS + 35_000 else {}
        return {G1: {"ecc_uncorrected": 3} | verdict}

    assert measure_records(honest_records(TestNode(), every_step(), broken)).intervals[:2] == (
        interval(G1, START_MS, START_MS + 5_000),
        interval(G1, START_MS + 5_000, END_MS, conforming=False, reason="ecc_uncorrected"),
    )


def test_errors_that_were_counted_before_are_held_against_nobody():
    def old(now_ms):
        return {G1: {"ecc_uncorrected": 3, "remapped_uncorrectable": 2}}

    assert measure_records(honest_records(TestNode(), every_step(), old)).delivered_gpu_s == 200


def test_what_the_driver_does_not_tell_is_held_against_nobody():
    unknown = dict.fromkeys(
        ("memory_total_mib", "utilisation_percent", "power_mw", "energy_mj", "temperature_c", "throttle"), None
    )

    def silent(now_ms):
        return {G1: unknown | {"ecc_uncorrected": None, "remapped_correctable": None}}

    assert measure_records(honest_records(TestNode(), every_step(), silent)).delivered_gpu_s == 200


def test_an_energy_counter_that_falls_is_flagged_and_paid():
    def reset(now_ms):
        return {G1: {"energy_mj": now_ms - 900_000}} if now_ms >= START_MS + 45_000 else {}

    outcome = measure_records(honest_records(TestNode(), every_step(), reset))
    assert outcome.intervals[:3] == (
        interval(G1, START_MS, START_MS + 35_000),
        interval(G1, START_MS + 35_000, START_MS + 45_000, reason="energy_fell"),
        interval(G1, START_MS + 45_000, END_MS),
    )
    assert outcome.delivered_gpu_s == 200


BLIND = {"present": False, "healthy": False, "blind": True}


def test_a_blind_meter_is_a_gap_short_ones_are_estimated():
    def blind(now_ms):
        return {G1: BLIND} if START_MS + 45_000 <= now_ms <= START_MS + 65_000 else {}

    assert measure_records(honest_records(TestNode(), every_step(), blind)).intervals[:3] == (
        interval(G1, START_MS, START_MS + 35_000),
        interval(G1, START_MS + 35_000, START_MS + 65_000, quality="E"),
        interval(G1, START_MS + 65_000, END_MS),
    )


def test_a_meter_that_is_blind_for_longer_than_the_gap_limit_proves_nothing_and_heals():
    def blind(now_ms):
        return {G1: BLIND} if START_MS + 45_000 <= now_ms <= START_MS + 75_000 else {}

    outcome = measure_records(honest_records(TestNode(), every_step(), blind))
    assert outcome.intervals[:3] == (
        interval(G1, START_MS, START_MS + 35_000),
        interval(G1, START_MS + 35_000, START_MS + 75_000, quality="M", conforming=False, reason="meter_blind"),
        interval(G1, START_MS + 75_000, END_MS),
    )
    assert (outcome.delivered_gpu_s, outcome.quality_gpu_ms) == (160, {"M": 40_000, "O": 160_000})


def test_a_fault_is_over_when_the_node_shows_a_reset():
    def broken(now_ms):
        if now_ms == START_MS + 45_000:
            return {G1: {"xid": (95,)}}
        return {G1: {"energy_mj": now_ms - 1_000_000}} if now_ms > START_MS + 70_000 else {}

    assert measure_records(honest_records(TestNode(), every_step(), broken)).intervals[1:4] == (
        interval(G1, START_MS + 35_000, START_MS + 65_000, conforming=False, reason="xid_95"),
        interval(G1, START_MS + 65_000, START_MS + 75_000, reason="energy_fell"),
        interval(G1, START_MS + 75_000, END_MS),
    )


def test_hardware_throttling_counts_only_past_its_limit():
    def throttled(now_ms):
        return {G1: {"throttle": 0x40}} if now_ms >= START_MS + 15_000 else {}

    outcome = measure_records(honest_records(TestNode(), every_step(), throttled))
    assert outcome.intervals[1] == interval(G1, START_MS + 65_000, END_MS, conforming=False, reason="throttled")


def test_used_time_is_that_with_a_process_of_the_lease():
    def busy(now_ms):
        return {G1: {"processes": (process(LEASE),)}} if now_ms <= START_MS + 45_000 else {}

    outcome = measure_records(honest_records(TestNode(), every_step(), busy))
    assert (outcome.delivered_gpu_s, outcome.used_gpu_s) == (200, 45)


def test_a_gap_of_up_to_three_intervals_is_estimated_as_delivered():
    records = honest_records(TestNode(), every_step())
    without = [record for record in records if not START_MS + 40_000 < record.received_ms <= START_MS + 70_000]
    outcome = measure_records(without)
    assert outcome.intervals[:3] == (
        interval(G1, START_MS, START_MS + 35_000),
        interval(G1, START_MS + 35_000, START_MS + 65_000, quality="E"),
        interval(G1, START_MS + 65_000, END_MS),
    )
    assert (outcome.delivered_gpu_s, outcome.quality_gpu_ms) == (200, {"E": 60_000, "O": 140_000})


def test_a_longer_gap_is_undelivered_from_its_start():
    records = honest_records(TestNode(), every_step())
    without = [record for record in records if not START_MS + 40_000 < record.received_ms <= START_MS + 80_000]
    outcome = measure_records(without)
    assert outcome.intervals[1] == interval(
        G1, START_MS + 35_000, START_MS + 75_000, quality="M", conforming=False, reason="no_report"
    )
    assert outcome.delivered_gpu_s == 120


def test_a_gap_after_which_the_energy_counter_fell_is_not_estimated():
    def reset(now_ms):
        return {G1: {"energy_mj": now_ms - 900_000}} if now_ms > START_MS + 70_000 else {}

    records = honest_records(TestNode(), every_step(), reset)
    without = [record for record in records if not START_MS + 40_000 < record.received_ms <= START_MS + 70_000]
    assert measure_records(without).intervals[1:3] == (
        interval(G1, START_MS + 35_000, START_MS + 65_000, quality="M", conforming=False, reason="no_report"),
        interval(G1, START_MS + 65_000, START_MS + 75_000, reason="energy_fell"),
    )


def test_one_report_for_a_long_time_is_no_heartbeat():
    records = honest_records(TestNode(), [START_MS - 5_000, START_MS + 95_000, START_MS + 105_000])
    assert measure_records(records).delivered_gpu_s == 10


def dark(first_ms: int, last_ms: int, back_ms: int) -> list[NodeReported]:
    """An honest node of which nothing was heard between first and last; what it queued comes when it is back."""
    records = honest_records(TestNode(), every_step(), queued=lambda now_ms: first_ms < now_ms < last_ms)
    return [
        record.model_copy(update={"received_ms": max(record.received_ms, back_ms)}) if record.report.queued else record
        for record in records
    ]


def test_reports_queued_up_to_the_gap_limit_count_whole():
    records = dark(START_MS + 20_000, START_MS + 50_000, START_MS + 55_000)
    assert measure_records(records) == measure_records(honest_records(TestNode(), every_step()))


FROM_MS, BACK_MS = START_MS + 10_000, START_MS + 95_000  # live reports end at +5 s, the next one begins at +85 s
OUTAGE = {"excuses": (Excuse(start_ms=START_MS + 12_000, end_ms=START_MS + 90_000, kind="venue_outage"),)}
WITNESS = {"witnesses": (Witness(start_ms=START_MS + 35_000, end_ms=START_MS + 85_000, kind="door"),)}


@pytest.mark.parametrize(
    ("facts", "delivered_s"),
    [
        ({}, 2 * (5 + 30 + 15)),  # nobody but the operator says so: the gap limit is paid
        (WITNESS | {"provisional_ms": BACK_MS}, 200),
        (WITNESS | {"provisional_ms": BACK_MS - 1}, 2 * (5 + 30 + 15)),  # too late to count with a witness
        (OUTAGE, 200),  # nobody pays for the venue's own absence
        (OUTAGE | {"provisional_ms": START_MS}, 200),
    ],
)
def test_more_than_the_gap_limit_of_queued_reports_needs_a_witness_in_time_or_our_own_outage(facts, delivered_s):  # M25
    outcome = measure_records(dark(FROM_MS, START_MS + 90_000, BACK_MS), **facts)
    assert (outcome.delivered_gpu_s, outcome.excused_gpu_s) == (delivered_s, 0)


def test_a_silence_that_is_not_paid_uses_up_nothing_of_what_counts_of_the_queued_reports_after_it():
    node = TestNode()
    records = honest_records(node, every_step(last_ms=START_MS + 5_000))
    back = every_step(START_MS + 55_000)
    records += honest_records(node, back, queued=lambda now_ms: now_ms <= START_MS + 65_000)
    outcome = measure_records(records, gpus=(G1,), qty=1)
    assert outcome.intervals == (
        interval(G1, START_MS, START_MS + 5_000),
        interval(G1, START_MS + 5_000, START_MS + 45_000, "M", False, reason="no_report"),
        interval(G1, START_MS + 45_000, END_MS),
    )


def test_a_window_that_is_no_heartbeat_uses_up_nothing_of_what_counts_of_the_queued_reports_after_it():
    node = TestNode()
    records = honest_records(node, [*every_step(last_ms=START_MS + 5_000), START_MS + 45_000, START_MS + 55_000])
    records = [*records[:2], *(each.model_copy(update={"nonce_issued_ms": None}) for each in records[2:])]
    queued = [
        each.model_copy(update={"report": each.report.model_copy(update={"queued": True})}) for each in records[2:]
    ]
    records = records[:2] + queued + honest_records(node, every_step(START_MS + 65_000))
    outcome = measure_records(records, gpus=(G1,), qty=1)
    assert outcome.intervals == (
        interval(G1, START_MS, START_MS + 5_000),
        interval(G1, START_MS + 5_000, START_MS + 45_000, "M", False, reason="no_report"),
        interval(G1, START_MS + 45_000, END_MS),
    )


# How a node may fill the fifty seconds in which nobody heard of it: windows as (start, end, how live, boot), in seconds
# from the start; all come at +55 s. What it claims counts for thirty seconds of the forty before the last interval.
@pytest.mark.parametrize(
    ("windows", "delivered_s"),
    [
        ([(25, 55, "live", "boot-1")], 90),
        ([(25, 25, "live", "boot-1"), (25, 55, "live", "boot-1")], 90),
        ([(5, 30, "queued", "boot-1"), (30, 55, "live", "boot-1")], 90),
        ([(5, 30, "queued", "boot-1"), (30, 45, "queued", "boot-1"), (50, 55, "live", "boot-2")], 85),
    ],
)
def test_a_time_without_live_reports_counts_to_the_gap_limit_whatever_fills_it(windows, delivered_s):  # M25
    node = TestNode()
    records, back_ms, issued_ms = honest_records(node, every_step(last_ms=START_MS + 5_000)), START_MS + 55_000, 5
    for start_s, end_s, how, node.boot_id in windows:
        span = (START_MS + 1_000 * start_s - 900_000, START_MS + 1_000 * end_s - 900_000)
        gpus = tuple(reading(uuid, energy_mj=span[1] + 900_000) for uuid in node.gpus)
        report = node.report("a" * 64, *span, queued=how == "queued", gpus=gpus)
        records.append(reported(report, back_ms, START_MS + 1_000 * issued_ms if how == "live" else None))
        issued_ms = 55 if how == "live" else issued_ms
    records += honest_records(node, every_step(START_MS + 65_000))
    assert measure_records(records, qty=1, gpus=(G1,)).delivered_gpu_s == delivered_s


def test_queued_reports_beyond_the_gap_limit_are_told_as_unproven():  # M25
    records = dark(FROM_MS, START_MS + 90_000, BACK_MS)
    assert measure_records(records, qty=1, gpus=(G1,)).intervals == (
        interval(G1, START_MS, START_MS + 35_000),
        interval(G1, START_MS + 35_000, START_MS + 85_000, quality="M", conforming=False, reason="unproven"),
        interval(G1, START_MS + 85_000, END_MS),
    )


def test_time_without_reports_in_an_outage_of_ours_is_excused_and_what_is_left_is_a_gap():  # A18
    records = honest_records(TestNode(), every_step())
    heard = [record for record in records if not START_MS + 20_000 < record.received_ms < START_MS + 80_000]
    outcome = measure_records(heard, qty=1, gpus=(G1,), **OUTAGE)
    excused = interval(G1, START_MS + 15_000, START_MS + 75_000, quality="E", conforming=False, reason="venue_outage")
    assert outcome.intervals == (
        interval(G1, START_MS, START_MS + 15_000),
        excused.model_copy(update={"excused": True}),
        interval(G1, START_MS + 75_000, END_MS),
    )
    assert (outcome.delivered_gpu_s, outcome.excused_gpu_s) == (40, 60)


@pytest.mark.parametrize(
    ("is_well", "outage_ms", "excused_s"),
    [
        (True, (35_000, 80_000), 45),
        (True, (36_000, 80_000), 0),  # silent for longer than the gap limit before: that was not us
        (False, (35_000, 80_000), 0),  # it was lost before
    ],
)
def test_an_outage_of_ours_excuses_no_gpu_that_was_gone_before_it(is_well, outage_ms, excused_s):  # A18
    records = honest_records(TestNode(), every_step(last_ms=START_MS + 5_000), lambda ms: {G1: {"present": is_well}})
    outage = Excuse(start_ms=START_MS + outage_ms[0], end_ms=START_MS + outage_ms[1], kind="venue_outage")
    assert measure_records(records, qty=1, gpus=(G1,), excuses=(outage,)).excused_gpu_s == excused_s


@pytest.mark.parametrize(
    ("outage_s", "access_s", "figures"),
    [
        ((-20, 20), 32, (68, 32)),  # it hears that we are back an interval later, and has the grace then
        ((-20, 20), 33, (67, 32)),
        ((1, 20), 32, (68, 32)),  # its hook had begun
        ((3, 20), 32, (68, 19)),  # it should have been in by then: our absence alone is nobody's
        ((20, 40), 5, (95, 2)),
    ],
)
def test_a_lease_that_could_not_be_opened_in_our_outage_is_excused_until_we_were_back(outage_s, access_s, figures):
    first_ms, last_ms = (START_MS + 1_000 * each for each in outage_s)
    outage = Excuse(start_ms=first_ms, end_ms=last_ms, kind="venue_outage")  # A18
    access_ms = START_MS + 1_000 * access_s
    facts = {"qty": 1, "gpus": (G1,), "excuses": (outage,), "opening_grace_ms": 2_000, "access_ms": access_ms}
    outcome = measure_records(honest_records(TestNode(), every_step()), **facts)
    assert (outcome.delivered_gpu_s, outcome.excused_gpu_s) == figures


@pytest.mark.parametrize(
    ("access_ms", "figures"),
    [
        (START_MS + 300, (99, 1)),
        (START_MS + 2_000, (98, 2)),
        (START_MS + 5_000, (95, 2)),
        (None, (0, 0)),  # never opened: no grace
    ],
)
def test_the_time_of_opening_is_neither_paid_nor_charged_up_to_its_grace(access_ms, figures):  # M29
    facts = {"qty": 1, "gpus": (G1,), "opening_grace_ms": 2_000, "access_ms": access_ms}
    outcome = measure_records(honest_records(TestNode(), every_step()), **facts)
    assert (outcome.delivered_gpu_s, outcome.excused_gpu_s) == figures


@pytest.mark.parametrize(
    ("offered_ms", "excused_s"),
    [
        (END_MS - 2_000, 100),  # the hook's grace would have lasted until the end
        (END_MS - 3_000, 97),  # the hook had a second to let him in
    ],
)
def test_a_lease_that_came_too_late_to_be_opened_is_charged_to_nobody(offered_ms, excused_s):  # A18
    facts = {"qty": 1, "gpus": (G1,), "opening_grace_ms": 2_000, "offered_ms": offered_ms, "access_ms": None}
    outcome = measure_records(honest_records(TestNode(), every_step()), **facts)
    assert (outcome.delivered_gpu_s, outcome.excused_gpu_s) == (0, excused_s)


def test_maintenance_declared_before_the_trade_is_excused_also_for_a_gpu_that_is_not_there():
    window = Excuse(start_ms=START_MS + 10_000, end_ms=START_MS + 30_000, kind="maintenance")
    outcome = measure_records(honest_records(TestNode(), every_step()), qty=3, excuses=(window,))
    assert (outcome.delivered_gpu_s, outcome.excused_gpu_s) == (160, 60)


FROM_HALF = {"from_ms": START_MS + 50_000}


@pytest.mark.parametrize(
    ("recalls", "lost_from_ms", "figures"),
    [
        ((), None, (200, 0, False)),
        ((), START_MS + 45_000, (135, 1, False)),  # M19: lost without a recall
        ((), START_MS + 85_000, (175, 0, False)),  # M19: within the gap limit
        ((Recall(gpus=(G2,), declared_ms=START_MS + 46_667, **FROM_HALF),), None, (150, 1, True)),
        ((Recall(gpus=(G2,), declared_ms=START_MS + 46_668, **FROM_HALF),), None, (150, 1, False)),
        ((Recall(gpus=(G2,), declared_ms=START_MS, **FROM_HALF),), START_MS + 5_000, (100, 1, False)),
        ((Recall(gpus=(), declared_ms=START_MS, **FROM_HALF),), None, (100, 2, True)),
        ((Recall(gpus=(), declared_ms=START_MS, **FROM_HALF),), START_MS + 5_000, (50, 1, False)),
    ],
)
def test_an_interruptible_gpu_is_recalled_with_notice_or_lost(recalls, lost_from_ms, figures):
    def lost(now_ms):
        return {G2: {"present": False}} if lost_from_ms is not None and now_ms >= lost_from_ms else {}

    records = honest_records(TestNode(), every_step(), lost)
    facts = {"contract": "H100SXM80.CNE.I-26112213", "notice_ms": 3_333, "recalls": recalls}
    outcome = measure_records(records, **facts)
    assert (outcome.delivered_gpu_s, outcome.recalled_gpus, outcome.noticed) == figures


def test_an_interruptible_gpu_that_was_never_there_is_lost():  # M19
    facts = {"contract": "H100SXM80.CNE.I-26112213", "qty": 3}
    outcome = measure_records(honest_records(TestNode(), every_step()), **facts)
    assert (outcome.delivered_gpu_s, outcome.recalled_gpus, outcome.noticed) == (200, 1, False)


def test_a_reboot_costs_the_time_between_the_boots():
    node = TestNode()
    before = honest_records(node, every_step(last_ms=START_MS + 35_000))
    node.boot_id = "boot-2"
    after = honest_records(node, every_step(START_MS + 55_000))
    outcome = measure_records([*before, *after])
    assert outcome.intervals[1] == interval(
        G1, START_MS + 35_000, START_MS + 45_000, quality="M", conforming=False, reason="no_report"
    )
    assert outcome.delivered_gpu_s == 180


def test_reports_queued_since_a_reboot_are_placed_by_the_first_live_one_and_count_to_the_gap_limit():  # M25
    node = TestNode(boot_id="boot-2")
    records = [
        record.model_copy(update={"received_ms": max(record.received_ms, END_MS)})
        for record in honest_records(node, every_step(), queued=lambda now_ms: now_ms < END_MS)
    ]
    whole = (Witness(start_ms=START_MS, end_ms=END_MS, kind="renter"),)
    assert measure_records(records, witnesses=whole).delivered_gpu_s == 200
    # They begin at −15 s; the last window, which came live, begins at +95 s.
    assert measure_records(records).delivered_gpu_s == 2 * (15 + 5)


def test_time_before_access_and_after_release_is_not_delivered():
    records = honest_records(TestNode(), every_step())
    outcome = measure_records(records, access_ms=START_MS + 12_000, released_ms=END_MS - 8_000)
    assert outcome.intervals[:3] == (
        interval(G1, START_MS, START_MS + 12_000, conforming=False, reason="no_access"),
        interval(G1, START_MS + 12_000, END_MS - 8_000),
        interval(G1, END_MS - 8_000, END_MS, conforming=False, reason="released"),
    )
    assert outcome.delivered_gpu_s == 160


def test_without_access_nothing_is_delivered():
    assert measure_records(honest_records(TestNode(), every_step()), access_ms=None).delivered_gpu_s == 0


def test_the_venues_own_delay_is_excused_and_cannot_be_delivered_as_well():
    late_ms = START_MS + 30_500
    outcome = measure_records(honest_records(TestNode(), every_step()), offered_ms=late_ms, access_ms=late_ms)
    assert (outcome.excused_gpu_s, outcome.delivered_gpu_s) == (61, 139)


def test_a_position_that_was_never_leased_has_nothing_delivered_and_nothing_excused():
    outcome = measure_records([], gpus=(), lease_id=None, offered_ms=None, access_ms=None)
    assert outcome == MeterOutcome(
        delivered_gpu_s=0, excused_gpu_s=0, used_gpu_s=0, quality_gpu_ms={"M": 200_000}, intervals=()
    )


def test_windows_end_no_later_than_they_arrived_though_the_clock_runs_fast():
    node, records, mono_ms = TestNode(), [], 0
    for number in range(1, 11):
        report = node.report("a" * 64, mono_ms, mono_ms + 2 * STEP_MS)
        mono_ms += 2 * STEP_MS
        records.append(reported(report, START_MS + number * STEP_MS, START_MS + (number - 1) * STEP_MS))
    windows = place_windows(records)
    assert [window.end_ms for window in windows] == [record.received_ms for record in records]
    assert windows[-1].end_ms - windows[1].start_ms <= 9 * STEP_MS


def test_a_suspended_machine_does_not_deliver_while_it_sleeps():
    node = TestNode()
    awake = honest_records(node, every_step(last_ms=START_MS + 25_000))
    mono_ms = awake[-1].report.mono_end_ms
    facts = tuple(reading(uuid, energy_mj=2_000_000) for uuid in node.gpus)
    report = node.report("b" * 64, mono_ms, mono_ms + 1_000, gpus=facts)
    woken = reported(report, START_MS + 95_500, START_MS + 95_000)
    assert measure_records([*awake, woken]).intervals[:3] == (
        interval(G1, START_MS, START_MS + 25_000),
        interval(G1, START_MS + 25_000, START_MS + 94_000, quality="M", conforming=False, reason="no_report"),
        interval(G1, START_MS + 94_000, START_MS + 95_000),
    )


def test_the_digest_commits_to_every_report():
    records = honest_records(TestNode(), every_step())
    digests = {meter_digest(inputs_for(records)), meter_digest(inputs_for(records[:-1]))}
    assert len(digests) == 2


def test_other_reports_than_the_inputs_name_are_refused():
    records = honest_records(TestNode(), every_step())
    with pytest.raises(RecordsDiffer):
        measure(inputs_for(records), records[:-1])


def test_what_a_failed_proof_took_back_is_not_delivered_on_that_gpu_whoever_saw_it():
    time = DisprovenTime(challenge_id="ch-1", gpu=G1, start_ms=START_MS + 40_000, end_ms=END_MS + 5_000)
    outcome = measure_records(honest_records(TestNode(), every_step()), disproven=(time,))
    assert (outcome.delivered_gpu_s, outcome.excused_gpu_s, outcome.quality_gpu_ms) == (
        140,
        0,
        {"M": 60_000, "O": 140_000},
    )
    assert outcome.intervals == (
        interval(G1, START_MS, START_MS + 40_000),
        interval(G1, START_MS + 40_000, END_MS, "M", conforming=False, reason="disproven"),
        interval(G2, START_MS, END_MS),
    )


def test_what_is_excused_stays_excused_though_the_proof_of_that_time_failed():
    time = DisprovenTime(challenge_id="ch-1", gpu=G1, start_ms=START_MS, end_ms=END_MS)
    away = Excuse(start_ms=START_MS + 20_000, end_ms=START_MS + 30_000, kind="maintenance")
    outcome = measure_records(honest_records(TestNode(), every_step()), disproven=(time,), excuses=(away,))
    assert (outcome.delivered_gpu_s, outcome.excused_gpu_s) == (90, 20)
