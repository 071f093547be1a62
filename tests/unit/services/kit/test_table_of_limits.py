"""Every limit has a test that goes beyond it, so that none is new without one."""

import re
from pathlib import Path

from tests.api.limits import ATTACKED, OURS, limits

TESTS = Path(__file__).resolve().parents[3]


def test_every_setting_that_is_a_limit_stands_in_the_table_once():
    assert limits() == {*ATTACKED, *OURS}
    assert not ATTACKED.keys() & OURS


def test_every_test_that_the_table_names_is_there():
    missing = []
    for name in set(ATTACKED.values()):
        path, _, test = name.partition("::")
        if not re.search(rf"def {test}\(" if test else r"def test_", (TESTS / path).read_text()):
            missing.append(name)
    assert missing == []
