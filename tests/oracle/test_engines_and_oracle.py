"""Engines say what the oracle says: a few logs of each flavour here, many in `./hourbook test engine`."""

import pytest

from tests.engine.logs import LOGS
from tests.oracle.judging import judge, log_of
from tests.scenarios.engines import ENGINES

COMMANDS = 250


@pytest.mark.parametrize("flavour", LOGS)
def test_engines_say_what_the_oracle_says(flavour: str):
    engines = [engine_class() for engine_class in ENGINES.values()]
    verdict = judge(log_of(flavour, 1), engines, engines[0], COMMANDS)
    assert verdict.difference is None
