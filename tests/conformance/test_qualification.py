"""tracebook-conformance, which others wrote, qualifies the engine: fixed cases and seeded campaigns of every profile.

Its ninth fixed case, pro-rata allocation, cannot apply: our books are price, then time, and the adapter refuses it.
"""

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("tracebook.conformance", reason="tracebook-conformance is not installed")

from tracebook.conformance.campaign import campaign_profile_names, run_campaign
from tracebook.conformance.external import ExternalProcessAdapterFactory
from tracebook.conformance.model import ConformanceConfig
from tracebook.conformance.qualification import run_qualification
from tracebook.conformance.suite import copy_bundled_conformance_suite, run_conformance_suite

from tests.conformance.adapter import Adapter
from tests.scenarios.engines import ENGINES

SEEDS = (1, 42, 1337)
TRACES = 3
TRACES_LONG = 25
EVENTS_PER_TRACE = 200
PRO_RATA = "pro-rata-allocation"
ROOT = Path(__file__).parents[2]
PROGRAM = ExternalProcessAdapterFactory([sys.executable, "-m", "tests.conformance.adapter"], 20.0, ROOT)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("profile", campaign_profile_names())
def test_the_engine_qualifies(profile: str, seed: int, pytestconfig: pytest.Config):
    traces = TRACES_LONG if pytestconfig.getoption("--long", default=False) else TRACES
    result = run_qualification(Adapter, profile, seed=seed, traces=traces, events_per_trace=EVENTS_PER_TRACE)
    assert result.campaign.failure is None, result.campaign.failure.to_dict()
    assert result.suite_report["conformant"], result.suite_report
    assert result.qualified, result.campaign.semantic_coverage.uncovered_capabilities


@pytest.mark.parametrize("engine", ENGINES)
def test_every_fixed_case_but_pro_rata_conforms_also_self_trade_prevention(engine: str, tmp_path: Path):
    whole = copy_bundled_conformance_suite(tmp_path / "suite")
    suite = replace(whole, cases=tuple(case for case in whole.cases if case.name != PRO_RATA))
    report = run_conformance_suite(suite, partial(Adapter, engine_class=ENGINES[engine]))
    assert (report["conformant_cases"], len(whole.cases)) == (8, 9), report
    with pytest.raises(ValueError, match="price, then time"):
        Adapter(ConformanceConfig(matching_algorithm="pro_rata"))


def test_the_adapter_as_a_program_speaks_the_protocol():
    result = run_campaign(PROGRAM, "fifo-full-v1", seed=7, traces=1, events_per_trace=EVENTS_PER_TRACE)
    assert result.conformant, result.failure and result.failure.to_dict()
