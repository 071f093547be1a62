"""Power, clocks and energy against the load claimed: what cannot be is named, what is only odd is not."""

from pathlib import Path

import pytest

from schemas.gpu_models import MODELS
from schemas.nodes import GpuReading
from services.delivery.load import LoadTally, read_board_powers
from services.delivery.settings import Settings
from services.delivery.tables import BadTable
from tests.fixtures.delivery import gpu_uuid, reading

WINDOW_MS, LEAST_MS, H100_W = 10_000, 60_000, 700
BUSY = {"utilisation_percent": 100, "power_mw": 500_000, "sm_clock_mhz": 1_755, "throttle": 0}


def tally_of(facts: list[dict], boot_id: str = "b") -> LoadTally:
    """The tally of windows of ten seconds; the energy counter adds up the power where nothing else is said."""
    tally, energy_mj = LoadTally(), 10**9
    for number, changes in enumerate(facts, 1):
        power_mw = changes.get("power_mw", 70_000)
        energy_mj += (power_mw or 0) * WINDOW_MS // 1000
        shown = reading(gpu_uuid(1), **({"energy_mj": energy_mj, **changes}))
        tally.add(shown, boot_id, WINDOW_MS, number * WINDOW_MS)
    return tally


def doubt_about(windows: int = 8, tdp_w: int | None = H100_W, **changes: object) -> str:
    return tally_of([BUSY | changes] * windows).doubt(tdp_w, LEAST_MS)


def test_a_busy_and_an_idle_gpu_are_believed():
    assert doubt_about() == ""
    assert tally_of([{}] * 60).doubt(H100_W, LEAST_MS) == ""


def test_full_load_at_thirty_watts_an_idle_clock_and_no_energy_is_doubted():  # C05
    half_clock = {"power_mw": 30_000, "sm_clock_mhz": 345, "energy_mj": 0}
    assert doubt_about(**half_clock) == (
        "at full load it clocked below 382.5 MHz, and named nothing that slows it down"
    )
    assert doubt_about(**half_clock | {"sm_clock_mhz": 1_980}) == "at full load it drew 30 W of 700 W"
    lying_power = half_clock | {"sm_clock_mhz": 1_980, "power_mw": 400_000}
    assert doubt_about(**lying_power) == "its energy counter says 0 W, its power readings 400 W"


def test_more_power_than_a_board_can_draw_is_doubted():
    assert doubt_about(power_mw=1_100_000) == "it drew 1100 W, a board of 700 W"
    assert doubt_about(power_mw=900_000) == ""


@pytest.mark.parametrize("name", ["power_mw", "energy_mj", "sm_clock_mhz", "throttle", "utilisation_percent"])
def test_what_a_driver_does_not_tell_is_held_against_nobody(name):
    assert doubt_about(**{name: None}) == ""


def test_a_slow_clock_with_a_reason_and_a_load_of_moments_prove_nothing():
    assert doubt_about(sm_clock_mhz=345, throttle=0x4) == ""
    assert doubt_about(windows=5, power_mw=10_000) == ""
    assert tally_of([BUSY | {"power_mw": 30_000}] * 5 + [{}] * 60).doubt(H100_W, LEAST_MS) == ""


def test_a_grade_of_unknown_power_is_held_against_clock_and_counter_alone():
    assert doubt_about(tdp_w=None, power_mw=30_000) == ""
    assert doubt_about(tdp_w=None, energy_mj=5) == "its energy counter says 0 W, its power readings 500 W"


def energy_tally(*steps: tuple[int, str]) -> LoadTally:
    tally = LoadTally()
    for number, (energy_mj, boot_id) in enumerate(steps, 1):
        tally.add(reading(gpu_uuid(1), energy_mj=energy_mj), boot_id, WINDOW_MS, number * WINDOW_MS)
    return tally


def test_an_energy_counter_may_begin_anew_with_its_driver_or_boot_and_else_never_falls():
    assert energy_tally((10**9, "b"), (700_000, "b")).doubt(H100_W, LEAST_MS) == ""
    assert energy_tally((10**9, "b"), (9 * 10**8, "c")).doubt(H100_W, LEAST_MS) == ""
    fell = energy_tally((10**9, "b"), (9 * 10**8, "b"))
    assert fell.doubt(H100_W, LEAST_MS) == "its energy counter fell within a boot, to where no new one could be"


def test_a_gpu_that_was_not_there_counts_for_nothing():
    gone = GpuReading(uuid=gpu_uuid(1), present=False, healthy=False)
    tally = LoadTally()
    tally.add(gone, "b", WINDOW_MS, WINDOW_MS)
    tally.add(reading(gpu_uuid(1), blind=True, **BUSY), "b", WINDOW_MS, 2 * WINDOW_MS)
    assert (tally.power.ms, tally.clocked_ms) == (0, 0)


def test_all_models_but_two_whose_makers_figure_is_not_at_hand_have_a_board_power():
    powers = read_board_powers(Settings().board_powers)
    assert {model.grade for model in MODELS} - set(powers) == {"H800SXM80", "A800SXM80"}


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("X,many,s", ":2: column 2 (tdp_w): 'many' is no number of watts"),
        ("X,0,s", ":2: column 2 (tdp_w): '0' is no number of watts"),
        ("X,5,", ":2: column 3 (source): is empty"),
        ("X,5,s\nX,6,s", ":3: column 1 (grade): has a line already"),
    ],
)
def test_a_malformed_file_of_board_powers_is_refused_in_one_line(tmp_path: Path, row, problem):
    path = tmp_path / "power.csv"
    path.write_text(f"grade,tdp_w,source\n{row}\n")
    with pytest.raises(BadTable) as refused:
        read_board_powers(path)
    assert str(refused.value) == f"{path}{problem}"
