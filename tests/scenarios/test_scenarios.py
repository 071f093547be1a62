"""Every scenario must read the same after it was played, on every engine, however often that is restarted."""

import os
from pathlib import Path

import pytest

from tests.scenarios.engines import ENGINES
from tests.scenarios.restarting import Restarting
from tests.scenarios.script import run

SCENARIOS = sorted(Path(__file__).parent.glob("*.txt"))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda path: path.stem)
def test_the_engine_answers_as_the_scenario_says(scenario: Path, engine: str):
    """HOURBOOK_WRITE_SCENARIOS=1 writes the reference's answers into the files: read the difference."""
    played = run(scenario, ENGINES[engine]())
    if os.environ.get("HOURBOOK_WRITE_SCENARIOS") == "1" and engine == "reference":
        scenario.write_text(played, encoding="utf-8")
    assert played == scenario.read_text(encoding="utf-8")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda path: path.stem)
def test_the_engine_answers_the_same_when_it_is_restarted_after_every_command(scenario: Path, engine: str):
    assert run(scenario, Restarting(ENGINES[engine])) == scenario.read_text(encoding="utf-8")
