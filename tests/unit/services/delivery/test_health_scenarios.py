"""Each scenario of a GPU's health, from the stand-in library through the real pynvml to the money of its hour.

Tier: default; about 20 s. All scenarios run at once, each on its own GPU of one stand-in node.
"""

import time
from pathlib import Path

import pytest

from agents.node.inventory import Nvml
from agents.node.policy import IdleRule, IdleWatch
from infra.fake_nvml.build import build_library, environment
from infra.fake_nvml.scenario import H100_SXM, scenario_text, write_scenario
from matching_engine.settlement import settle
from schemas.delivery import MeterInputs, MeterOutcome
from schemas.gpu_health import GpuHealth
from schemas.nodes import GpuProcess, GpuReading
from services.delivery.domain import memory_min_mib, next_fitness
from services.delivery.meter import cite_report, measure
from tests.fixtures.delivery import TestNode, reported
from tests.fixtures.health_scenarios import SCENARIOS, Scenario

READINGS = 13
STEP_MS = 10_000
XID_S = 0.4  # an XID comes by its own way, a moment after the counters
START_MS = 1_000_000
LEASE = "lease-7"
PRICE_MICROS, BOND_MICROS = 2_000_000, 33_333
# By delivered seconds of 120: what the buyer, the operator and the venue get at 2.00 per GPU-hour, worked by hand.
MONEY = {
    120: (-66_666, 66_000, 666),
    100: (-46_394, 45_839, 555),
    80: (-22_222, 21_778, 444),
    70: (-11_111, 10_723, 388),
    40: (11_111, -11_333, 222),
}


def owned(process: GpuProcess) -> GpuProcess:
    """Returns a process with its owner, as its number says."""
    if process.pid >= 7000:
        facts = {"owner": "other"}
    elif process.pid >= 5000:
        facts = {"owner": "lease", "lease_id": LEASE, "evidence": "container"}
    else:
        facts = {"owner": "foreign"}
    return process.model_copy(update=facts)


def lines_of(scenarios: tuple[Scenario, ...], number: int) -> str:
    """Returns what the stand-in is told before a reading."""
    told = ((line, gpu) for gpu, scenario in enumerate(scenarios) for line in scenario.lines.get(number, ()))
    return "".join(f"{line.format(gpu=gpu)}\n" for line, gpu in told)


def play(scenarios: tuple[Scenario, ...], script: Path) -> dict[str, list[GpuReading]]:
    """Plays scenarios side by side on one node; returns the readings of each one's GPU, by the scenario's name."""
    text = scenario_text("hour", H100_SXM, len(scenarios))
    text += "".join(f"gpu {gpu} energy_mj 500000000\n" for gpu in range(len(scenarios)))
    uuids = [line.split()[3] for line in text.splitlines() if " uuid " in line]
    seen: dict[str, list[GpuReading]] = {scenario.name: [] for scenario in scenarios}
    text += lines_of(scenarios, -1)
    write_scenario(script, text)
    nvml = Nvml(known=uuids)
    try:
        nvml.read()
        for number in range(READINGS):
            text += lines_of(scenarios, number)
            write_scenario(script, text)
            time.sleep(XID_S)
            for reading, scenario in zip(nvml.read(), scenarios, strict=True):
                processes = tuple(map(owned, reading.processes))
                seen[scenario.name].append(reading.model_copy(update={"processes": processes}))
    finally:
        nvml.close()
    return seen


@pytest.fixture(scope="module")
def hours(tmp_path_factory) -> dict[str, list[GpuReading]]:
    """The readings of every scenario's GPU; a node has 64 GPUs at most, so that two play them."""
    folder = tmp_path_factory.mktemp("health")
    script, half = folder / "scenario.txt", len(SCENARIOS) // 2
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(build_library(folder), script).items():
            patch.setenv(name, value)
        return play(SCENARIOS[:half], script) | play(SCENARIOS[half:], script)


def metered(readings: list[GpuReading]) -> MeterOutcome:
    """Returns what the meter makes of an hour's readings."""
    uuid = readings[0].uuid
    node = TestNode(gpus=(uuid,))
    records = []
    for number, reading in enumerate(readings):
        end_ms = START_MS + number * STEP_MS
        report = node.report("a" * 64, end_ms - STEP_MS - 900_000, end_ms - 900_000, gpus=(reading,))
        records.append(reported(report, end_ms, end_ms - STEP_MS))
    inputs = MeterInputs(
        position_id=7,
        contract="H100SXM80.CNE.F-26112213",
        node=node.node_id,
        lease_id=LEASE,
        qty=1,
        gpus=(uuid,),
        start_ms=START_MS,
        end_ms=START_MS + 120_000,
        offered_ms=START_MS - 60_000,
        access_ms=START_MS - 30_000,
        released_ms=None,
        memory_min_mib=memory_min_mib("H100SXM80"),
        gap_ms_max=30_000,
        throttle_ms_max=60_000,
        reports=tuple(map(cite_report, records)),
    )
    return measure(inputs, records)


def is_offered(readings: list[GpuReading]) -> bool:
    """Tells whether both the agent and the venue would offer the GPU to the next buyer at the hour's end."""
    watch, uuid = IdleWatch(), readings[0].uuid
    health = {uuid: GpuHealth()}
    for number, reading in enumerate(readings):
        (judged,) = watch.observe((reading,), frozenset({uuid}), IdleRule(), number * STEP_MS)
        health = next_fitness(health, (judged,), "boot-1", memory_min_mib("H100SXM80"))
    return not judged.withheld and health[uuid].is_sellable


def test_there_are_at_least_forty_scenarios_with_names_of_their_own():
    names = [scenario.name for scenario in SCENARIOS]
    assert len(set(names)) == len(names) >= 40


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[scenario.name for scenario in SCENARIOS])
def test_a_gpus_health_has_the_right_verdict_and_the_right_payment(hours, scenario: Scenario):
    outcome = metered(hours[scenario.name])
    reasons = {interval.reason for interval in outcome.intervals if not interval.conforming}
    assert (outcome.delivered_gpu_s, outcome.used_gpu_s, reasons - {"no_report"}) == (
        scenario.delivered_s,
        scenario.used_s,
        {scenario.reason} - {""},
    )
    paid = settle(
        q=1,
        T=120,
        P=PRICE_MICROS,
        I=PRICE_MICROS,
        E=0,
        r=1000,
        hi=990,
        lo=800,
        bond=BOND_MICROS,
        fee_bps=100,
        D=outcome.delivered_gpu_s,
        U=outcome.used_gpu_s,
    )
    assert (paid.buyer, paid.operator, paid.venue) == MONEY[scenario.delivered_s]
    assert is_offered(hours[scenario.name]) == scenario.offered
