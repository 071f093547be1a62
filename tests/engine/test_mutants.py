"""The bank of seeded bugs fits the code as it is, and a handful is caught here; `test mutants` tries them all."""

import pytest

from tests.fixtures.builds import ROOT
from tests.mutants.bank import BANK, CHEAP
from tests.mutants.mutant import Mutant
from tests.mutants.sowing import try_mutant


@pytest.mark.parametrize("mutant", BANK, ids=lambda mutant: mutant.name)
def test_the_text_of_every_mutant_is_found_exactly_once(mutant: Mutant):
    source = (ROOT / "matching_engine" / mutant.file).read_text(encoding="utf-8")
    assert source.count(mutant.text) == 1
    assert mutant.text != mutant.replacement


def test_the_bank_has_many_mutants_of_both_engines_each_with_a_name_of_its_own():
    assert len({mutant.name for mutant in BANK}) == len(BANK) >= 30
    assert {mutant.is_compiled for mutant in BANK} == {True, False}


@pytest.mark.parametrize("mutant", CHEAP, ids=lambda mutant: mutant.name)
def test_a_cheap_mutant_is_caught(mutant: Mutant):
    catch = try_mutant(mutant, ("scenarios",))
    assert catch.test is not None, str(catch)
