"""The fuzzed surfaces: records of the command log through both engines, and snapshots through the loader.

A record is answered alike by both engines, or refused as malformed; nothing is raised. A snapshot is loaded whole, or
refused with BadSnapshot. A hang ends the process by its alarm.
"""

import random
import signal
from collections import Counter
from dataclasses import dataclass, field

from matching_engine.errors import BadSnapshot
from matching_engine.rules import Engine as ReferenceEngine
from matching_engine.rules import snapshot
from schemas.venue import Privileged
from tests.engine.random_log import RandomLog
from tests.engine.shrinking import read
from tests.fuzz.inputs import mutate
from tests.scenarios.engines import ENGINES

BATCH = 200
FRESH_EVERY = 25  # batches, then a new log and a new state
CHECKED_ONE_IN = 10  # batches that the reference answers too
HANG_S = 60


@dataclass
class Findings:
    """What a run saw: how many inputs of which kind ended how, and what should not have been."""

    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def fuzz_records(seed: int, inputs: int) -> Findings:
    """Records: canonical ones, and mutations of them, in batches through an engine that has something to lose."""
    dice, findings = random.Random(seed), Findings()
    engine_class = ENGINES.get("cython", ReferenceEngine)
    corpus, engine, batches = [], engine_class(), 0
    while findings.counts["records"] < inputs and not findings.faults:
        if batches % FRESH_EVERY == 0:
            corpus, engine = begin(dice, engine_class)
        batches += 1
        first = engine.next_offset
        good = [dice.choice(corpus) for _ in range(BATCH)]
        values = [raw if dice.randrange(8) == 0 else mutate(dice, raw, corpus) for raw in good]
        records = [(first + place, engine.log_time_ms, value) for place, value in enumerate(values)]
        oracle = ReferenceEngine.restore(engine.snapshot()) if dice.randrange(CHECKED_ONE_IN) == 0 else None
        signal.alarm(HANG_S)
        try:
            events = engine.apply(records)
            if oracle is not None and oracle.apply(records) != events:
                findings.faults.append(f"the engines differ over {records!r}")
        except Exception as error:  # no bytes may make an engine raise
            findings.faults.append(f"{type(error).__name__}: {error} over {records!r}")
        signal.alarm(0)
        findings.counts["records"] += BATCH
        findings.counts["records refused as malformed"] += sum(b'"code":"malformed"' in event for event in events)
        findings.counts["records compared"] += BATCH * (oracle is not None)
    return findings


def begin(dice: random.Random, engine_class: type) -> tuple[list[bytes], object]:
    """A log's records as corpus, each kind of command alike, and an engine that has taken them."""
    log, engine = RandomLog(dice.randrange(10**9)), engine_class()
    records = log.take(600)
    engine.apply(records)
    kinds: dict[str, list[bytes]] = {}
    for _, _, raw in records:
        command = read(raw)
        kind = command.commands[0].type if isinstance(command, Privileged) else getattr(command, "type", "broken")
        kinds.setdefault(kind, []).append(raw)
    hot = ("place_order", "cancel_order")
    return [raw for kind, each in kinds.items() for raw in each[: 60 if kind in hot else 6]], engine


def fuzz_snapshots(seed: int, inputs: int) -> Findings:
    """Snapshots: damaged as a disk would, and with a good hash over bytes that no engine wrote."""
    dice, findings = random.Random(seed), Findings()
    restore, whole = ENGINES.get("cython", ReferenceEngine).restore, b""
    while findings.counts["snapshots"] < inputs and not findings.faults:
        if findings.counts["snapshots"] % 5_000 == 0:
            engine = ReferenceEngine()
            engine.apply(RandomLog(dice.randrange(10**9)).take(dice.choice((5, 40, 120))))
            whole = engine.snapshot()
        raw, kind = (
            (mutate(dice, whole, [whole]), "damaged") if dice.randrange(2) else (rehashed(dice, whole), "rehashed")
        )
        signal.alarm(HANG_S)
        try:
            restored = restore(raw)
            findings.counts[f"snapshots {kind} and loaded"] += 1
            if raw == whole and restored.snapshot() != whole:
                findings.faults.append("a snapshot does not survive being loaded")
            if raw != whole and kind == "damaged":
                findings.faults.append(f"a damaged snapshot was loaded: {raw[:3000]!r}")
        except BadSnapshot:
            findings.counts[f"snapshots {kind} and refused"] += 1
        except Exception as error:  # the loader's one error is BadSnapshot
            findings.faults.append(f"{type(error).__name__}: {error} over a {kind} snapshot {raw[:3000]!r}")
        signal.alarm(0)
        findings.counts["snapshots"] += 1
    return findings


def rehashed(dice: random.Random, whole: bytes) -> bytes:
    """A snapshot whose header and sizes fit an outline and sections that were changed."""
    body = whole.partition(b"\n")[2]
    (size,) = snapshot.SIZE.unpack_from(body)
    parts = [body[snapshot.SIZE.size :][:size], body[snapshot.SIZE.size + size :]]
    place = dice.randrange(2)
    parts[place] = mutate(dice, parts[place], parts)
    return snapshot.assemble(*parts)
