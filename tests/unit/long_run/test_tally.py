"""Counts of long runs add up over a file."""

from collections import Counter

import pytest

from tests.long_run.tally import Tally

FIRST = Tally(7, next_plan=36, judged=60, wrong=1, outages=3, skipped=2, accidents=Counter(kill=4, dark=1))
SECOND = Tally(7, next_plan=60, judged=40, outages=1, accidents=Counter(kill=2, ecc=1))


def test_runs_of_one_seed_add_up_and_the_next_begins_where_the_last_ended(tmp_path):
    path = tmp_path / "tally.json"
    assert Tally.load(path) is None
    FIRST.save(path)
    Tally.load(path).plus(SECOND).save(path)
    assert Tally.load(path) == Tally(7, 60, 100, 1, 4, 2, Counter(kill=6, dark=1, ecc=1))
    assert str(Tally.load(path)) == (
        "100 leases judged, 1 wrong; 4 outages; 2 rounds skipped; leases with 1 dark, 1 ecc, 6 kill"
    )


def test_runs_of_different_seeds_do_not_add_up():
    with pytest.raises(ValueError, match="seeds 7 and 8 do not add up"):
        FIRST.plus(Tally(8))
