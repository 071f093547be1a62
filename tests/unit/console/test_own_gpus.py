"""The demo on a machine with GPUs of its own: sold where they are proven and offered, else left out with the reason."""

import subprocess
import sys
from pathlib import Path

import pytest

from console.demo.own_gpus import OwnGpus, why_not_sold
from console.demo.sites import AgentSite
from console.demo.story import Story
from infra.processes import Program

LOG = Path("/logs/agent-own-gpus.log")
PENDING = {"state": "enrolled", "reason": "challenge_pending"}
ACTIVE = {"state": "active", "reason": "challenge_passed"}
QUARANTINED = {"state": "quarantined", "reason": "challenge_row_differs"}


@pytest.fixture
def sold(capsys):
    """Says why an agent's GPUs are not sold; `looks` are what the venue shows of its node, one after the other."""
    processes = []

    def why(*looks: dict | None, asks: int = 1, code: str = "input()") -> str:
        process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
        processes.append(process)
        if code != "input()":
            process.wait()
        program = Program(name="agent-own-gpus", command=[], log=LOG, ready=lambda: True)
        own = OwnGpus(AgentSite("own-gpus", None, Path("/none"), program, process), "H200SXM141.CNE.F", 1)
        shown = list(looks)

        def node() -> dict | None:
            return shown.pop(0) if len(shown) > 1 else shown[0]

        return why_not_sold(own, Story(to_stderr=True), node, lambda: asks, 0.5, 0.3)

    yield why
    for process in processes:
        process.kill()
        process.wait()


def test_gpus_that_are_proven_and_offered_are_sold(sold):
    assert sold(None, PENDING, ACTIVE) == ""


def test_a_proof_that_takes_too_long_is_named_and_ends_nothing(sold):
    assert sold(PENDING) == f"not proven, their node is enrolled: challenge pending ({LOG})"


def test_a_proof_that_failed_is_named_at_once(sold):
    assert sold(QUARANTINED) == f"not proven, their node is quarantined: challenge row differs ({LOG})"


def test_an_agent_that_does_not_enroll_or_ends_is_named(sold):
    assert sold(None) == f"not proven, their agent did not enroll within 0.5 s ({LOG})"
    assert sold(None, code="raise SystemExit(3)") == f"not proven, their agent ended with status 3 ({LOG})"


def test_gpus_that_are_proven_but_not_offered_are_left_out(sold):
    assert sold(ACTIVE, asks=0) == f"they are proven, but their agent offered none within 0.3 s ({LOG})"
