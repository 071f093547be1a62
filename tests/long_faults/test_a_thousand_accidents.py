"""Every sort of accident under load, a thousand of them, with backups put back: nothing acknowledged is lost.

Tier: command, about a quarter of a minute an accident; runs with one tally file add up.
"""

import asyncio
import shutil
import tempfile
from pathlib import Path

import pytest

from infra.exchange import free_ports, running
from tests.faults.world import PERIOD_S
from tests.long_faults.round import Round
from tests.long_faults.tally import Tally

PER_ROUND = 18
FAULTS_SHOWN = 20


@pytest.mark.slow
@pytest.mark.timeout(0)  # it bounds each of its waits itself
def test_what_was_acknowledged_outlives_a_thousand_accidents(
    pytestconfig: pytest.Config, seed: int, capsys: pytest.CaptureFixture[str]
):
    """Holds invariants 1, 2, 3, 4 and 6."""

    def say(line: str) -> None:
        with capsys.disabled():
            print(f"\n{line}", flush=True)

    left, path = pytestconfig.getoption("--kills"), pytestconfig.getoption("--tally")
    whole = (Tally.load(path) if path else None) or Tally(seed, pytestconfig.getoption("--first"))
    found: list[str] = []
    while left > 0:
        count, left = min(left, PER_ROUND), max(0, left - PER_ROUND)
        played = Tally(whole.seed, whole.next_round)
        options = f"--seed {whole.seed} --first {whole.next_round} --kills {count}"
        say(f"repeat this round: ./hourbook test faults --long {options}")
        try:
            play(played, count, say)
        except Exception as error:
            played.faults.append(f"the round ended by {error!r}")
            played.next_round = whole.next_round + 1
        found += [f"{each} ({options})" for each in played.faults]
        whole.add(played)
        if path:
            whole.save(path)
        say(f"together: {whole}")
    assert not found, "\n".join([f"{len(found)} promises were broken", *found[:FAULTS_SHOWN]])


def play(tally: Tally, count: int, say) -> None:
    """Plays one round on an exchange of its own; where a promise was broken its folder stays."""
    work = Path(tempfile.mkdtemp(prefix="hourbook-long-faults-"))
    work.chmod(0o755)
    say(f"logs, where a promise is broken: {work / 'data' / 'logs'}")
    with running(work / "data", HOURBOOK_PERIOD_S=str(PERIOD_S), **free_ports()) as exchange:
        asyncio.run(Round(exchange, work, tally, say).play(count))
    if not tally.faults:
        shutil.rmtree(work)
