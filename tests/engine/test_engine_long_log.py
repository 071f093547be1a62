"""Both engines over one long random log: the same events, snapshots and digests, cut and restarted anywhere.

`HOURBOOK_TEST_COMMANDS` and `HOURBOOK_TEST_SEED` set how long and which; a failure prints the line that repeats it.
"""

import os
import random
import time

import pytest

from matching_engine.reference import Engine as ReferenceEngine
from tests.engine.random_log import RandomLog, Record

engine = pytest.importorskip("matching_engine.engine", reason="the compiled engine is not built")

COMMANDS = int(os.environ.get("HOURBOOK_TEST_COMMANDS", "100000"))
SEED = int(os.environ.get("HOURBOOK_TEST_SEED", time.time_ns() // 1_000_000 % 1_000_000))
SLICE = 500


def test_a_long_random_log_gives_the_same_bytes_in_both_engines():
    log, dice = RandomLog(SEED), random.Random(SEED)
    reference, compiled = ReferenceEngine(), engine.Engine()
    while log.offset < COMMANDS:
        records = log.take(SLICE)
        expected = reference.apply(records)
        found = []
        for batch in cut(dice, records):
            found += compiled.apply(batch)
            if dice.randrange(20) == 0:
                compiled = engine.Engine.restore(compiled.snapshot())
        assert found == expected, explain(expected, found)
        assert standing(compiled) == standing(reference), repeat()
        log.look(reference)
    assert compiled.snapshot() == reference.snapshot(), repeat()


def cut(dice: random.Random, records: list[Record]) -> list[list[Record]]:
    """The records in batches that end anywhere."""
    ends = sorted(dice.sample(range(len(records)), 4))
    return [records[first:end] for first, end in zip([0, *ends], [*ends, len(records)], strict=True)]


def standing(engine) -> tuple:
    """Where an engine stands, and all that can be seen in it."""
    place = (engine.seq, engine.next_offset, engine.log_time_ms, engine.link, engine.epoch, engine.shard)
    return (*place, engine.balance_digest(), engine.balances(), engine.orders(), engine.positions())


def explain(expected: list[bytes], found: list[bytes]) -> str:
    """The first event that differs, and how to see it again."""
    pairs = zip(expected, found, strict=False)
    first = next(((right, wrong) for right, wrong in pairs if right != wrong), (len(expected), len(found)))
    return f"{first[0]!r}\nis the reference's, the compiled engine says\n{first[1]!r}\n{repeat()}"


def repeat() -> str:
    return f"HOURBOOK_TEST_SEED={SEED} HOURBOOK_TEST_COMMANDS={COMMANDS} ./hourbook test engine"
