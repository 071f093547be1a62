"""Random logs of every flavour give the same bytes in both engines and in the oracle, which shares no rule with them.

`--commands N` judges one round of logs for every million commands; seed and flavour as for the streams of both engines.
"""

import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import pytest

from tests.engine.logs import LOGS
from tests.oracle.judging import Verdict, judge, log_of
from tests.oracle.test_what_is_judged import kinds_in_table
from tests.scenarios.engines import ENGINES

COMMANDS = 1_500
COMMANDS_PER_ROUND = 1_000_000
LOG_WITH_ALL_KINDS = ("all kinds", 2, 2_500)


@pytest.mark.timeout(0)
def test_long_logs_are_judged_alike_by_engines_and_oracle(
    commands: int, seed: int, flavour: str | None, progress: Callable[[str], None]
):
    rounds = range(max(1, commands // COMMANDS_PER_ROUND))
    logs = [(name, seed + place, COMMANDS) for place in rounds for name in ([flavour] if flavour else LOGS)]
    judged = Counter()
    with ProcessPoolExecutor(os.cpu_count()) as processes:
        for (name, its_seed, _), verdict in zip(logs, processes.map(judge_one, logs), strict=True):
            assert verdict.difference is None, f"{name}, --stream-seed {its_seed}: {verdict.difference}"
            judged.update(commands=verdict.kinds.total(), events=verdict.events)
            progress(f"{judged['commands']:,} commands, {judged['events']:,} events")


@pytest.mark.timeout(0)
def test_every_kind_of_command_that_the_table_calls_judged_is_in_a_log():
    verdict = judge_one(LOG_WITH_ALL_KINDS)
    assert verdict.difference is None
    assert set(verdict.kinds) == kinds_in_table("judged")


def judge_one(log: tuple[str, int, int]) -> Verdict:
    flavour, seed, commands = log
    engines = [engine_class() for engine_class in ENGINES.values()]
    return judge(log_of(flavour, seed), engines, engines[0], commands)
