"""No bytes on the command log and none of a snapshot crash or hang the engine: they are taken, or clearly refused.

`--inputs N` sets how many; a few run in the engine's suite.
"""

import os
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import pytest

from tests.fuzz.hunting import fuzz_records, fuzz_snapshots

RECORDS_OF_TEN = 9
PORTION = 20_000


@pytest.mark.timeout(0)
def test_no_bytes_crash_or_hang_the_engine(
    inputs: int, fuzz_seed: int, progress: Callable[[str], None], capsys: pytest.CaptureFixture[str]
):
    began, counts, faults = time.monotonic(), Counter(), []
    records = inputs * RECORDS_OF_TEN // 10
    portions = [(fuzz_records, part) for part in portions_of(records)]
    portions += [(fuzz_snapshots, part) for part in portions_of(inputs - records)]
    with ProcessPoolExecutor(os.cpu_count()) as processes:
        tasks = [processes.submit(fuzz, fuzz_seed + place, part) for place, (fuzz, part) in enumerate(portions)]
        for task in tasks:
            findings = task.result()
            counts += findings.counts
            faults += findings.faults
            progress(f"{counts['records'] + counts['snapshots']:,} of {inputs:,} inputs")
    with capsys.disabled():
        told = ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items()))
        print(f"\n{told}; {time.monotonic() - began:.0f} s, --fuzz-seed {fuzz_seed}")
    assert faults == []
    assert counts["records"] + counts["snapshots"] >= inputs


def portions_of(inputs: int) -> list[int]:
    return [min(PORTION, inputs - first) for first in range(0, inputs, PORTION)]
