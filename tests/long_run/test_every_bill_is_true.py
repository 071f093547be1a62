"""Leases on a real exchange with real agents and seeded accidents: every bill is what the scenario makes right.

Tier: CI with 60 leases (4 to 5 minutes), by command with 500 (30 minutes).
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from infra.exchange import free_ports, running
from tests.long_run.run import LongRun
from tests.long_run.tally import Tally

SKIPPED_SHARE_MAX = 0.25
LEASES_PER_ROUND = 2  # on the average


@pytest.mark.timeout(0)  # it bounds each of its waits itself
def test_no_honest_party_loses_by_what_it_did_not_do(
    servers_folder: Path,
    pytestconfig: pytest.Config,
    seed: int,
    progress: Callable[[str], None],
    capsys: pytest.CaptureFixture[str],
):
    """Holds invariants 3 and 6 from outside."""

    def complain(line: str) -> None:
        with capsys.disabled():
            print(f"\n{line}", flush=True)

    leases, first = pytestconfig.getoption("--leases"), pytestconfig.getoption("--first")
    tally_file = pytestconfig.getoption("--tally")
    before = Tally.load(tally_file) if tally_file else None
    if before is not None:
        seed, first = before.seed, before.next_plan
    complain(f"repeat this run: ./hourbook test delivery --long --seed {seed} --first {first} --leases {leases}")
    work = servers_folder / "long-run"
    with running(work / "data", **free_ports()) as exchange:
        run = LongRun(exchange, work, seed, first, leases, progress, complain)
        run.play()
    complain(run.summary())
    if tally_file:
        together = before.plus(run.tally) if before else run.tally
        together.save(tally_file)
        complain(f"together with the runs before: {together}")
    assert not run.faults, f"{len(run.faults)} faults:\n" + "\n".join(run.faults)
    sold = run.tally.judged + LEASES_PER_ROUND * len(run.skipped)
    assert LEASES_PER_ROUND * len(run.skipped) <= SKIPPED_SHARE_MAX * sold, run.skipped
