"""Every seeded bug is caught by some part of the engine's suite; the report says by which, after how many commands.

`--mutant TEXT` takes those whose names hold a text.
"""

import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.mutants.bank import BANK
from tests.mutants.sowing import try_mutant


@pytest.mark.timeout(0)
def test_every_mutant_is_caught(pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]):
    wanted = pytestconfig.getoption("--mutant")
    mutants = [mutant for mutant in BANK if wanted in mutant.name]
    began, catches = time.monotonic(), []
    with capsys.disabled(), ThreadPoolExecutor(os.cpu_count()) as threads:
        print()
        for catch in threads.map(try_mutant, mutants):
            catches.append(catch)
            print(catch, flush=True)
        caught = sum(catch.test is not None for catch in catches)
        print(f"{caught} of {len(catches)} mutants caught, {time.monotonic() - began:.0f} s")
    assert [catch.mutant.name for catch in catches if catch.test is None] == []
