"""What a run of a bank prints: each bug with the test that saw it, and how many were seen."""

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest

from tests.mutants.mutant import Mutant, ServiceMutant
from tests.mutants.services_hunt import Sight
from tests.mutants.sowing import Catch

Bug = TypeVar("Bug", Mutant, ServiceMutant)


def hunt_all(
    bugs: Iterable[Bug], hunt: Callable[[Bug], Catch | Sight], at_once: int, capsys: pytest.CaptureFixture[str]
) -> list[str]:
    """Hunts so many bugs at a time, prints what became of each, and returns the names of those that nothing caught."""
    began, found = time.monotonic(), []
    with capsys.disabled(), ThreadPoolExecutor(at_once) as threads:
        print()
        for each in threads.map(hunt, bugs):
            found.append(each)
            print(each, flush=True)
        missed = [each.mutant.name for each in found if each.test is None]
        print(f"{len(found) - len(missed)} of {len(found)} bugs caught, {time.monotonic() - began:.0f} s")
    return missed
