"""Both engines over one random log: every event, snapshot and look inside compared, cut and restarted anywhere."""

import random
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import pytest

from matching_engine.rules import Engine as ReferenceEngine
from tests.engine.logs import LOGS
from tests.engine.random_log import Record

core = pytest.importorskip("matching_engine.bridge.core", reason="the compiled engine is not built")

SLICE = 500
BATCHES = 10
RESTART_ONE_IN = (12, 1)  # batches, in streams of an even and of an odd seed
SNAPSHOTS_ONE_IN = 10  # slices, and at the end
CACHES = (0, 1 << 40)  # bytes: the engine loads ahead whatever it can, or nothing


@dataclass(frozen=True)
class Stream:
    """A random log that can be made again."""

    flavour: str
    seed: int
    commands: int


@dataclass
class Outcome:
    """What became of a stream: how far it went, how often it was restarted, the last link and the snapshot's hash, and
    the records where the engines differed.
    """

    stream: Stream
    commands: int = 0
    events: int = 0
    restarts: int = 0
    difference: str | None = None
    standing: str = ""
    records: list[Record] = field(default_factory=list)


def run_stream(stream: Stream, engine_class: type, reference_class: type = ReferenceEngine) -> Outcome:
    """Applies a stream to both engines until its end or the first difference."""
    usual = core.expect_cache(CACHES[stream.seed % 2])
    log, dice = LOGS[stream.flavour](stream.seed), random.Random(f"{stream.flavour} {stream.seed}")
    reference, compiled = reference_class(), engine_class()
    outcome, taken = Outcome(stream), []
    while log.offset < stream.commands and outcome.difference is None:
        records = log.take(SLICE)
        taken += records
        try:
            expected, found = reference.apply(records), []
            for batch in cut(dice, records):
                found += compiled.apply(batch)
                if dice.randrange(RESTART_ONE_IN[stream.seed % 2]) == 0:
                    core.expect_cache(dice.choice(CACHES))
                    compiled = engine_class.restore(compiled.snapshot())
                    outcome.restarts += 1
            outcome.events += len(expected)
            outcome.difference = first_difference(expected, found) or other_standing(reference, compiled)
            if outcome.difference is None and dice.randrange(SNAPSHOTS_ONE_IN) == 0:
                outcome.difference = other_snapshot(reference, compiled)
            log.look(reference)
        except Exception as error:  # whatever an engine raises is a finding, told with the log that led to it
            outcome.difference = f"raised {type(error).__name__}: {error}"
    core.expect_cache(usual)
    outcome.difference = outcome.difference or other_snapshot(reference, compiled)
    outcome.standing = f"{reference.link.hex()} {sha256(reference.snapshot()).hexdigest()}"
    outcome.commands = len(taken)
    outcome.records = taken if outcome.difference else []
    return outcome


def cut(dice: random.Random, records: list[Record]) -> list[list[Record]]:
    """The records in batches that end anywhere."""
    ends = sorted(dice.sample(range(len(records)), BATCHES - 1))
    return [records[first:end] for first, end in zip([0, *ends], [*ends, len(records)], strict=True)]


def first_difference(expected: list[bytes], found: list[bytes]) -> str | None:
    """The first event that differs, or None."""
    if found == expected:
        return None
    pairs = zip(expected, found, strict=False)
    right, wrong = next(
        ((right, wrong) for right, wrong in pairs if right != wrong),
        (f"{len(expected)} events".encode(), f"{len(found)} events".encode()),
    )
    return f"the reference says\n  {right.decode()}\nand the compiled engine\n  {wrong.decode()}"


def standing(engine: Any) -> dict[str, Any]:
    """Where an engine stands, and all that can be seen in it."""
    names = ("seq", "next_offset", "log_time_ms", "link", "epoch", "shard")
    looks = ("balance_digest", "balances", "orders", "positions")
    return {name: getattr(engine, name) for name in names} | {look: getattr(engine, look)() for look in looks}


def other_standing(reference: Any, compiled: Any) -> str | None:
    """What is not the same in two engines that said the same."""
    right, wrong = standing(reference), standing(compiled)
    names = [name for name in right if right[name] != wrong[name]]
    return f"the same events, but other {', '.join(names)}" if names else None


def other_snapshot(reference: Any, compiled: Any) -> str | None:
    """What is not the same in two engines that look the same."""
    return None if compiled.snapshot() == reference.snapshot() else "the same standing, but other snapshots"
