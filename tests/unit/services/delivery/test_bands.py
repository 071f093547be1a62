"""Bands: what the file says of each grade, what a CPU's score is against it, and how a broken file is refused."""

import time
from pathlib import Path

import pytest

from agents.node.challenge import NumpyBackend, run_chain
from schemas.gpu_models import GRADES
from schemas.nodes import Challenge
from services.delivery.bands import COLUMNS, BadBandFile, NoBand, read_bands
from services.delivery.settings import Settings

HEADER = ",".join(COLUMNS)
H100 = "H100SXM80,81559,1979,3350,,,,,a data sheet"
SETTINGS = Settings()


def bands_of(tmp_path: Path, *lines: str, margin_permille: int = 100):
    file = tmp_path / "bands.csv"
    file.write_text("\n".join((HEADER, *lines)) + "\n")
    return read_bands(file, margin_permille)


def complaint_of(tmp_path: Path, *lines: str) -> str:
    with pytest.raises(BadBandFile) as caught:
        bands_of(tmp_path, *lines)
    return str(caught.value).removeprefix(str(tmp_path / "bands.csv"))


def test_an_uncalibrated_floor_is_a_third_of_the_published_rate_and_caps_the_level(tmp_path):
    """Holds [D-29]"""
    band = bands_of(tmp_path, H100).of("H100SXM80", simulated=False)
    assert (band.kind, band.low_ops_per_s, band.high_ops_per_s, band.memory_bytes_per_s, band.level_max) == (
        "uncalibrated",
        1_979 * 10**12 // 3,
        1_979 * 10**12 * 11 // 10,
        3_350 * 10**9,
        "T1",
    )


def test_a_measured_band_is_what_the_runs_gave_and_caps_nothing(tmp_path):
    line = "H100SXM80,81559,1979,3350,1200,1500.5,40,2026-08-31,a data sheet"
    band = bands_of(tmp_path, line, margin_permille=0).of("H100SXM80X8", simulated=False)
    assert (band.kind, band.low_ops_per_s, band.high_ops_per_s, band.level_max) == (
        "measured",
        1_200 * 10**12,
        15_005 * 10**11,
        "T3",
    )


def test_a_score_is_judged_by_the_band_s_ends(tmp_path):
    band = bands_of(tmp_path, H100).of("H100SXM80", simulated=False)
    scores = (band.low_ops_per_s - 1, band.low_ops_per_s, band.high_ops_per_s, band.high_ops_per_s + 1)
    assert [band.judge(score) for score in scores] == ["too_slow", "", "", "too_fast"]


def test_simulated_gpus_have_a_band_of_their_own_whatever_grade_they_claim(tmp_path):
    bands = bands_of(tmp_path, H100)
    assert bands.of("H100SXM80", simulated=True).kind == bands.of("B300", simulated=True).kind == "simulated"


def test_a_grade_without_a_figure_cannot_be_proven_and_the_line_says_so(tmp_path):
    with pytest.raises(NoBand, match=r"^no INT8 rate of V100SXM16 is on file \(bands.csv\), so its GPUs cannot"):
        bands_of(tmp_path, H100).of("V100SXM16", simulated=False)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (H100.replace("1979", "fast"), ", line 2, column int8_tops: 'fast' is no number"),
        (H100.replace("1979", "-1"), ", line 2, column int8_tops: -1 is no positive number of whole units"),
        (H100.replace("81559", "nan"), ", line 2, column memory_mib: nan is no positive number of whole units"),
        (H100.replace("81559", "0.5"), ", line 2, column memory_mib: 0.5 is no positive number of whole units"),
        (H100.replace("a data sheet", " "), ", line 2, column source: is empty"),
        (H100 + ",more", ", line 2: 10 columns instead of 9"),
        (H100.replace(",,,,,", ",1200,,,,"), ", line 2, column high_tops: '' is no number"),
        (H100.replace(",,,,,", ",1500,1200,3,2026-08-31,"), ", line 2, column low_tops: is above high_tops"),
        (
            H100.replace(",,,,,", ",1500,2500,3,2026-08-31,"),
            ", line 2, column high_tops: is above the published rate int8_tops",
        ),
        (
            H100.replace(",,,,,", ",1200,1500,3,today,"),
            ", line 2, column measured_on: 'today' is no day like 2026-08-31",
        ),
        ('H100SXM80,81559,"1979', ", line 2: unexpected end of data"),
    ],
)
def test_a_broken_line_is_refused_with_file_line_and_column(tmp_path, line, complaint):
    assert complaint_of(tmp_path, line) == complaint


def test_a_grade_stands_once_the_header_is_complete_and_the_file_is_there(tmp_path):
    assert complaint_of(tmp_path, H100, H100) == ", line 3, column grade: H100SXM80 has a line already"
    (tmp_path / "bands.csv").write_text("grade\n")
    with pytest.raises(BadBandFile, match=r"bands.csv, line 1: the columns must be grade,memory_mib"):
        read_bands(tmp_path / "bands.csv", 0)
    with pytest.raises(BadBandFile, match="cannot be read"):
        read_bands(tmp_path / "none.csv", 0)


def test_the_file_in_the_tree_names_a_source_for_every_grade_and_fills_nearly_all_of_its_memory():
    without = {grade for grade in GRADES if not SETTINGS.bands.has(grade)}
    assert without == {"H100NVL94", "H200NVL141", "RTXPRO6000S96", "V100SXM16"}
    for grade in GRADES - without:
        band = SETTINGS.bands.of(grade, simulated=False)
        rules = SETTINGS.challenge_rules(band)
        filled = 4 * rules.n**2 * rules.rounds / (band.memory_mib * 2**20)
        assert (rules.n, rules.open_rounds, rules.open_rows, 0.92 < filled <= 0.95) == (8_192, 4, 64, True), grade
    assert SETTINGS.challenge_rules(SETTINGS.bands.of("H100SXM80", simulated=False)).rounds == 302


def test_the_default_opening_catches_one_per_cent_of_wrong_rows_with_92_per_cent():
    for simulated in (False, True):
        rules = SETTINGS.challenge_rules(SETTINGS.bands.of("H100SXM80", simulated))
        assert rules.rounds >= rules.open_rounds
        assert 1 - 0.99 ** (rules.open_rounds * rules.open_rows) >= 0.92


def test_the_cpu_backend_lies_far_below_the_band_of_a_real_grade(capsys):
    """Two products of n = 1,024 say how fast this machine's CPUs are; a chain over 95 % of an H100 would take hours."""
    challenge = Challenge(
        challenge_id="ch-1", cause="idle", nonce="ab" * 32, n=1_024, rounds=2, gpu_uuids=("GPU-00000001",),
        issued_ms=0, deadline_ms=1,
    )  # fmt: skip
    began = time.perf_counter()
    run_chain(NumpyBackend(), challenge, "node-0000000000000001", "GPU-00000001")
    ops_per_s = int(2 * 2 * challenge.n**3 / (time.perf_counter() - began))
    band = SETTINGS.bands.of("H100SXM80", simulated=False)
    with capsys.disabled():
        print(f"\nCPU backend: {ops_per_s / 1e9:.1f} GOPS, {band.low_ops_per_s / ops_per_s:,.0f} times below the floor")
    assert band.judge(ops_per_s) == "too_slow"
    assert ops_per_s * 100 < band.low_ops_per_s


def test_layers_are_switched_off_by_name_and_a_name_that_is_none_is_refused():
    settings = Settings(proof_layers_off="score,residency")
    assert [settings.judges(layer) for layer in ("work", "score", "residency")] == [True, False, False]
    with pytest.raises(ValueError, match="no layer is called gravity; the layers are work, score"):
        Settings(proof_layers_off="work,gravity")


def test_what_cannot_be_proven_is_told_from_what_can():
    sandbox, live = Settings(accept_simulated_nvml=True), Settings(accept_simulated_nvml=False)
    assert [sandbox.unprovable("V100SXM16", True), live.unprovable("H100SXM80", True)] == ["", "simulated_nvml"]
    assert [live.unprovable("H100SXM80X8", False), live.unprovable("V100SXM16", False)] == ["", "grade_without_band"]
