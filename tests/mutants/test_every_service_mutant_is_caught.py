"""Every bug seeded into a service is seen by one of the tests that it names. `--mutant TEXT` takes those whose names
hold a text.
"""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.mutants.services_bank import SERVICES_BANK
from tests.mutants.services_hunt import failing_without_a_bug, try_service_mutant

AT_ONCE = 2


@pytest.mark.timeout(0)
def test_every_bug_in_a_service_is_caught(pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]):
    wanted = pytestconfig.getoption("--mutant")
    mutants = [mutant for mutant in SERVICES_BANK if wanted in mutant.name]
    began, sights = time.monotonic(), []
    assert failing_without_a_bug(sorted({path for mutant in mutants for path in mutant.tests})) == []
    with capsys.disabled(), ThreadPoolExecutor(AT_ONCE) as threads:
        print()
        for sight in threads.map(try_service_mutant, mutants):
            sights.append(sight)
            print(sight, flush=True)
        caught = sum(sight.test is not None for sight in sights)
        print(f"{caught} of {len(sights)} bugs caught, {time.monotonic() - began:.0f} s")
    assert [sight.mutant.name for sight in sights if sight.test is None] == []
