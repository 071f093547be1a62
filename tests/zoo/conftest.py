"""A venue for the zoo: a band file of its own, in which an H100 takes a second for a chain that a CPU runs at once."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.delivery.conftest import Venue, open_venue
from tests.zoo.honest import NEW_DRIVER
from tests.zoo.machine import RATED_S
from tests.zoo.program import DRIVER, LIBRARY

N, MEMORY_MIB, MEMORY_PERMILLE = 64, 1, 110
ROUNDS = MEMORY_MIB * 2**20 * MEMORY_PERMILLE // 1000 // (4 * N * N)
RATED_OPS_PER_S = ROUNDS * 2 * N**3 / RATED_S
LOW, HIGH = 0.55, 1.3  # of the rated speed: honest chips lie between, however late a busy machine wakes them

DIGESTS = "driver_version,library_sha256,source,taken_on\n" + "".join(
    f"{driver},{LIBRARY},the zoo's own,2026-11-30\n" for driver in (DRIVER, NEW_DRIVER)
)


def bands(low: float) -> str:
    """Returns a band file in which an H100 has at least this part of the rated speed."""
    tops = RATED_OPS_PER_S / 1e12
    return (
        "grade,memory_mib,int8_tops,memory_gb_s,low_tops,high_tops,runs,measured_on,source\n"
        f"H100SXM80,{MEMORY_MIB},{2 * tops:.12f},1,{low * tops:.12f},{HIGH * tops:.12f},1,2026-11-30,the zoo's own\n"
    )


def zoo_settings(folder: Path, low: float = LOW) -> dict[str, object]:
    """Returns delivery's settings for the zoo."""
    files = {"bands_file": folder / "bands.csv", "digest_book": folder / "digests.csv"}
    folder.mkdir(parents=True, exist_ok=True)
    files["bands_file"].write_text(bands(low))
    files["digest_book"].write_text(DIGESTS)
    return files | {
        "load_ms_min": 2_000,
        "history_interval_s": 4.0,
        "challenge_n": N,
        "challenge_memory_permille": MEMORY_PERMILLE,
        "challenge_open_rows": 8,
        "challenge_retry_ms": 1_000,
        "residency_slack_ms": 500,
        "idle_challenge_ms_floor": 3_000,
        "sweep_interval_s": 0.2,
        "sweep_guard_ms": 1_000,
        "held_s_max": 3.0,
        "absence_retry_ms": 300,
        "outage_ms_min": 60_000,
        "accept_simulated_nvml": False,
    }


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--only", type=lambda names: names.split(","), help="the cheats that are sold an hour, by name")
    parser.addoption("--honest", type=int, default=200, help="how many honest agents (10000 take about ten minutes)")


@pytest.fixture
def zoo_terms() -> dict[str, int]:
    """What the zoo's product has otherwise than the delivery suite's; a module may have its own."""
    return {}


@pytest.fixture
async def zoo(own_kafka, fresh_database, tmp_path: Path, zoo_terms: dict[str, int]) -> AsyncIterator[Venue]:
    """A venue of the zoo's settings; delivery does not run yet."""
    settings = zoo_settings(tmp_path)
    async with open_venue(own_kafka.address, fresh_database, tmp_path, settings, **zoo_terms) as venue:
        yield venue
