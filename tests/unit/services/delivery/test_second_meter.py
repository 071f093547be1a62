"""Two meters: where both agree, where one was silent, and what they differ about, which alone is held."""

import pytest

from schemas.delivery import MeterInputs, Witness
from schemas.nodes import RenterReported
from schemas.renter import renter_agent
from services.delivery.meter import RecordsDiffer, cite_report, measure
from services.delivery.second_meter import is_apart, renter_witnesses
from services.delivery.settling import settle_command
from tests.fixtures.delivery import TestNode, reading
from tests.unit.services.delivery.test_meter import (
    END_MS,
    G1,
    G2,
    LEASE,
    START_MS,
    honest_records,
    inputs_for,
    interval,
)

WHOLE_GPU_S = 2 * (END_MS - START_MS) // 1000
STEP_MS = 10_000


def renter_records(ill=lambda gpu, ms: False, silent=lambda ms: False) -> list[RenterReported]:
    """A renter's reports, one in ten seconds, on the same machine and clock as the operator's."""
    meter, records = TestNode(seed=99), []
    for now_ms in range(START_MS - 5_000, END_MS + STEP_MS + 1, STEP_MS):
        if silent(now_ms):
            continue
        gpus = tuple(reading(gpu, energy_mj=now_ms, present=not ill(gpu, now_ms)) for gpu in (G1, G2))
        window = (now_ms - STEP_MS - 900_000, now_ms - 900_000)
        report = meter.report("b" * 64, *window, agent=renter_agent(LEASE), gpus=gpus)
        facts = {"node_id": "node-1", "lease_id": LEASE, "received_ms": now_ms, "nonce_issued_ms": now_ms - STEP_MS}
        records.append(RenterReported(**facts, report=report))
    return records


def outcome_of(operator, renter, **changes):
    inputs = inputs_for(operator, renter_reports=tuple(map(cite_report, renter)), **changes)
    return measure(inputs, operator, renter)


def steps() -> list[int]:
    return list(range(START_MS - 5_000, END_MS + STEP_MS + 1, STEP_MS))


def test_where_both_agree_the_quality_is_a_and_the_bill_the_same():
    outcome = outcome_of(honest_records(TestNode(), steps()), renter_records())
    assert (outcome.delivered_gpu_s, outcome.quality_gpu_ms) == (WHOLE_GPU_S, {"A": 200_000})
    assert outcome.intervals == (interval(G1, START_MS, END_MS, "A"), interval(G2, START_MS, END_MS, "A"))


def test_a_renter_who_is_silent_takes_nothing_from_the_operator():
    operator = honest_records(TestNode(), steps())
    outcome = outcome_of(operator, renter_records(silent=lambda ms: ms > START_MS + 40_000))
    assert (outcome.delivered_gpu_s, outcome.disputed_gpu_s) == (WHOLE_GPU_S, 0)
    assert outcome.quality_gpu_ms == {"A": 70_000, "O": 130_000}


def test_what_only_the_renter_saw_counts_against_himself():
    operator = honest_records(TestNode(), [ms for ms in steps() if not START_MS + 20_000 < ms < START_MS + 70_000])
    outcome = outcome_of(operator, renter_records())
    assert (outcome.delivered_gpu_s, outcome.disputed_gpu_s) == (WHOLE_GPU_S, 0)
    assert set(outcome.quality_gpu_ms) == {"A", "B"}


def lost_late(gpu: str, now_ms: int) -> bool:
    return gpu == G2 and now_ms > START_MS + 50_000


@pytest.mark.parametrize(
    ("differences", "figures"),
    [
        ("held", (145, 55)),
        ("operator", (200, 0)),
        ("renter", (145, 0)),
    ],
)
def test_the_difference_alone_is_disputed_until_somebody_says_whose_word_stands(differences, figures):
    operator = honest_records(TestNode(), steps())
    outcome = outcome_of(operator, renter_records(ill=lost_late), differences=differences)
    assert (outcome.delivered_gpu_s, outcome.disputed_gpu_s) == figures
    command = settle_command(7, 1, outcome, "a" * 64)
    assert command.type == ("settle_disputed" if differences == "held" else "settle_position")


def test_up_to_one_per_cent_the_operators_meter_stands():
    assert [is_apart(disputed_ms, 200_000) for disputed_ms in (0, 2_000, 2_001)] == [False, False, True]


def test_the_inputs_name_the_renters_reports_too():
    operator, renter = honest_records(TestNode(), steps()), renter_records()
    inputs = inputs_for(operator, renter_reports=tuple(map(cite_report, renter)))
    with pytest.raises(RecordsDiffer):
        measure(inputs, operator, renter[:-1])


def test_the_renter_witnesses_when_he_saw_all_gpus_well():
    inputs: MeterInputs = inputs_for([])
    witnesses = renter_witnesses(inputs, renter_records(ill=lost_late))
    assert witnesses == [Witness(start_ms=START_MS - 15_000, end_ms=START_MS + 45_000, kind="renter")]
