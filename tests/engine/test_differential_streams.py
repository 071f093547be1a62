"""Random and adversarial streams give the same bytes in both engines, whatever is in them and wherever they are cut.

`--commands N` sets how many in all (`--long`: 20,000,000), `--within-s S` stops after so many seconds if there were
100,000 by then, `--stream-seed N` and `--flavour NAME` say which; a stream that differs is made small and printed as
text.
"""

import math
import os
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import pytest

from matching_engine.rules import Engine as ReferenceEngine
from tests.engine.differential import Outcome, Stream, first_difference, run_stream
from tests.engine.logs import LOGS
from tests.engine.random_log import Record
from tests.engine.shrinking import shrink, tell

engine = pytest.importorskip("matching_engine.engine", reason="the compiled engine is not built")

STREAM_COMMANDS = 12_500
RESTARTS_MIN = 1_000
COMMANDS_MIN = 100_000
RESTARTS_SHRINKING = 200


@pytest.mark.timeout(0)
def test_every_flavour_of_stream_gives_the_same_bytes_in_both_engines(
    commands: int,
    within_s: float,
    seed: int,
    flavour: str | None,
    progress: Callable[[str], None],
    capsys: pytest.CaptureFixture[str],
):
    streams = streams_of(commands, seed, [flavour] if flavour else [*LOGS])
    began, done = time.monotonic(), Counter()
    with ProcessPoolExecutor(os.cpu_count()) as processes:
        for outcome in processes.map(run_one, streams):
            done += Counter(commands=outcome.commands, events=outcome.events, restarts=outcome.restarts)
            progress(f"{tell_counts(done)} of {commands:,} commands")
            if outcome.difference:
                processes.shutdown(wait=False, cancel_futures=True)
                pytest.fail(explain(outcome), pytrace=False)
            if time.monotonic() - began > within_s and done["commands"] >= COMMANDS_MIN:
                processes.shutdown(wait=False, cancel_futures=True)
                break
    with capsys.disabled():
        print(f"\n{len(streams)} streams, {tell_counts(done)}, {time.monotonic() - began:.0f} s, --stream-seed {seed}")
    assert done["commands"] >= (commands if within_s == math.inf else min(commands, COMMANDS_MIN))
    assert commands < COMMANDS_MIN or done["restarts"] >= RESTARTS_MIN


def streams_of(commands: int, seed: int, flavours: list[str]) -> list[Stream]:
    """As many streams as it takes, the flavours in turn."""
    places = range(-(-commands // STREAM_COMMANDS))
    return [Stream(flavours[place % len(flavours)], seed + place, STREAM_COMMANDS) for place in places]


def run_one(stream: Stream) -> Outcome:
    return run_stream(stream, engine.Engine)


def tell_counts(counts: Counter) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())


def explain(outcome: Outcome) -> str:
    """The difference, the smallest log found that shows it, and the line that repeats it."""
    stream, difference_of = outcome.stream, difference_at_once
    if not difference_of(outcome.records):
        difference_of = difference_with_restarts
    small = shrink(outcome.records, lambda records: difference_of(records) is not None)
    return (
        f"{stream}: {outcome.difference}\n{len(small)} of {len(outcome.records)} commands are enough:\n{tell(small)}\n"
        f"{difference_of(small)}\n"
        f"again: ./hourbook test engine --stream-seed {stream.seed} --flavour '{stream.flavour}' --commands 1"
    )


def difference_at_once(records: list[Record]) -> str | None:
    """Where the engines differ over a whole log."""
    try:
        return first_difference(ReferenceEngine().apply(records), engine.Engine().apply(records))
    except Exception as error:  # an engine that raises on a log differs from one that answers
        return f"raised {type(error).__name__}: {error}"


def difference_with_restarts(records: list[Record]) -> str | None:
    """Where the engines differ if the compiled one is restarted over and over."""
    step, found = max(1, len(records) // RESTARTS_SHRINKING), []
    try:
        compiled = engine.Engine()
        for first in range(0, len(records), step):
            found += compiled.apply(records[first : first + step])
            compiled = engine.Engine.restore(compiled.snapshot())
        return first_difference(ReferenceEngine().apply(records), found)
    except Exception as error:  # as above
        return f"raised {type(error).__name__}: {error}"
