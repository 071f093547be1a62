"""Every seeded bug is caught by some part of the engine's suite; the report says by which, after how many commands.

`--mutant TEXT` takes those whose names hold a text.
"""

import os

import pytest

from tests.mutants.bank import BANK
from tests.mutants.report import hunt_all
from tests.mutants.sowing import try_mutant


@pytest.mark.timeout(0)
def test_every_mutant_is_caught(pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]):
    wanted = pytestconfig.getoption("--mutant")
    mutants = [mutant for mutant in BANK if wanted in mutant.name]
    assert hunt_all(mutants, try_mutant, os.cpu_count() or 1, capsys) == []
