"""Every bug seeded into a service is seen by one of the tests that it names. `--mutant TEXT` takes those whose names
hold a text.
"""

import pytest

from tests.mutants.report import hunt_all
from tests.mutants.services_bank import SERVICES_BANK
from tests.mutants.services_hunt import failing_without_a_bug, try_service_mutant

AT_ONCE = 2


@pytest.mark.timeout(0)
def test_every_bug_in_a_service_is_caught(pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]):
    wanted = pytestconfig.getoption("--mutant")
    mutants = [mutant for mutant in SERVICES_BANK if wanted in mutant.name]
    assert failing_without_a_bug(sorted({path for mutant in mutants for path in mutant.tests})) == []
    assert hunt_all(mutants, try_service_mutant, AT_ONCE, capsys) == []
