"""Whatever a node says of its own clock, it is never paid for more time than passed on the server."""

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.delivery import MeterInputs
from services.delivery.leases import SoldPosition, nominate
from services.delivery.meter import cite_report, measure, place_windows
from tests.fixtures.delivery import TestNode, gpu_uuid, reading, reported

GPUS = (gpu_uuid(1), gpu_uuid(2))
TEMPLATE = TestNode().report("a" * 64, 0, 1)

steps = st.fixed_dictionaries(
    {
        "wait_ms": st.integers(0, 60_000),
        "age_ms": st.integers(0, 40_000),
        "pause_ms": st.integers(0, 60_000),
        "length_ms": st.integers(0, 90_000),
        "queued": st.booleans(),
        "reboot": st.integers(0, 9).map(lambda draw: draw == 0),
        "present": st.booleans(),
        "energy_mj": st.integers(0, 3),
        "throttle": st.sampled_from([0, 0x40]),
    }
)


def records_of(moves: list[dict]) -> list:
    """Builds records that the edge could have taken: arrivals and windows go forward, nonces precede arrivals."""
    records, now_ms, mono_ms, boot = [], 500_000, 0, 0
    for number, move in enumerate(moves, 1):
        now_ms += move["wait_ms"]
        boot, mono_ms = (boot + 1, 0) if move["reboot"] else (boot, mono_ms)
        start_ms = mono_ms + move["pause_ms"]
        mono_ms = start_ms + move["length_ms"]
        facts = {name: move[name] for name in ("present", "energy_mj", "throttle")}
        report = TEMPLATE.model_copy(
            update={
                "seq": number,
                "boot_id": f"boot-{boot}",
                "mono_start_ms": start_ms,
                "mono_end_ms": mono_ms,
                "queued": move["queued"],
                "gpus": tuple(reading(uuid, **facts) for uuid in GPUS),
            }
        )
        records.append(reported(report, now_ms, None if move["queued"] else now_ms - move["age_ms"]))
    return records


@given(st.lists(steps, min_size=1, max_size=30))
@settings(deadline=None, max_examples=300)
def test_windows_never_overlap_and_never_end_after_they_arrived(moves):
    windows, covered_ms = place_windows(records_of(moves)), 0
    for window in windows:
        report = window.record.report
        assert window.start_ms <= window.end_ms
        assert window.end_ms - window.start_ms <= report.mono_end_ms - report.mono_start_ms
        assert window is windows[0] or window.start_ms >= covered_ms
        assert window.end_ms <= max(window.record.received_ms, covered_ms)
        covered_ms = window.end_ms


@given(
    st.lists(steps, max_size=30),
    st.integers(480_000, 900_000),
    st.integers(1, 400).map(lambda seconds: seconds * 1000),
    st.none() | st.integers(480_000, 1_300_000),
    st.integers(480_000, 1_300_000),
    st.none() | st.integers(480_000, 1_300_000),
)
@settings(deadline=None, max_examples=300)
def test_delivered_used_and_excused_stay_within_the_window_and_the_intervals_make_it_up(
    moves, start_ms, length_ms, wait_for_access_ms, offered_ms, released_ms
):
    records = records_of(moves)
    inputs = MeterInputs(
        position_id=1,
        contract="H100SXM80.CNE.F-26112213",
        node="node-1",
        lease_id="lease-1",
        qty=3,
        gpus=GPUS,
        start_ms=start_ms,
        end_ms=start_ms + length_ms,
        offered_ms=offered_ms,
        access_ms=None if wait_for_access_ms is None else max(wait_for_access_ms, offered_ms),
        released_ms=released_ms,
        memory_min_mib=0,
        gap_ms_max=30_000,
        throttle_ms_max=60_000,
        reports=tuple(map(cite_report, records)),
    )
    outcome = measure(inputs, records)
    assert 0 <= outcome.used_gpu_s <= outcome.delivered_gpu_s
    assert (outcome.delivered_gpu_s + outcome.excused_gpu_s) * 1000 <= 3 * length_ms
    assert sum(outcome.quality_gpu_ms.values()) == 3 * length_ms
    for gpu in GPUS:
        own = [interval for interval in outcome.intervals if interval.gpu == gpu]
        edges = [own[0].start_ms, *(interval.end_ms for interval in own)]
        assert edges == [start_ms, *(interval.start_ms for interval in own[1:]), start_ms + length_ms]


@given(
    st.lists(st.integers(1, 4), max_size=6),
    st.integers(0, 8),
    st.dictionaries(st.integers(0, 5), st.lists(st.integers(0, 9), max_size=4), max_size=4),
)
def test_a_gpu_serves_one_position_and_no_position_gets_more_than_it_bought(quantities, fit_count, before):
    positions = [SoldPosition(number, "c", "n", "b", "o", qty, None, 0, 1) for number, qty in enumerate(quantities)]
    fit = [gpu_uuid(number) for number in range(fit_count)]
    served = {number: [gpu_uuid(gpu) for gpu in gpus] for number, gpus in before.items()}
    chosen = nominate(positions, fit, served)
    everything = [gpu for gpus in chosen.values() for gpu in gpus]
    assert len(set(everything)) == len(everything) == min(sum(quantities), fit_count)
    assert set(everything) <= set(fit)
    assert all(len(gpus) <= quantities[number] for number, gpus in chosen.items())
