"""Judges engines by the oracle over a random log: every event of every record to the byte, and what stands after it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from schemas.commands import read_command
from schemas.venue import NEWEST_RULESET
from tests.engine.logs import LOGS
from tests.engine.random_log import RandomLog, Record
from tests.oracle.oracle import Oracle

SLICE = 100


@dataclass
class Verdict:
    """What became of a log: the commands of each kind, the events, and where an engine said otherwise."""

    kinds: Counter[str] = field(default_factory=Counter)
    events: int = 0
    difference: str | None = None


def log_of(flavour: str, seed: int) -> RandomLog:
    """A log under the newest ruleset, which is the only one that the oracle knows."""
    return LOGS[flavour](seed, NEWEST_RULESET)


def judge(log: RandomLog, engines: Sequence[Any], looked_at: Any, commands: int) -> Verdict:
    """Applies a log to the oracle and to engines until so many records or the first difference.

    The log looks at one of them in between, so that it can name what exists.
    """
    oracle, verdict = Oracle(), Verdict()
    while log.offset < commands and verdict.difference is None:
        for record in log.take(SLICE):
            verdict.kinds.update(kinds_of(record))
            expected = oracle.apply([record])
            verdict.events += len(expected)
            found = (difference(record, expected, engine.apply([record])) for engine in engines)
            verdict.difference = next(filter(None, found), None)
            if verdict.difference:
                return verdict
        others = (other_standing(oracle, engine) for engine in engines)
        verdict.difference = next(filter(None, others), None)
        log.look(looked_at)
    return verdict


def kinds_of(record: Record) -> Iterator[str]:
    """The kinds of the commands in a record, its own first."""
    try:
        command = read_command(record[2])
    except ValueError:
        return
    yield command.type
    for part in getattr(command, "commands", getattr(command, "members", ())):
        yield part.type


def difference(record: Record, expected: list[bytes], found: list[bytes]) -> str | None:
    """The first event of a record that differs, with the record."""
    for place in range(max(len(expected), len(found))):
        right, wrong = (events[place].decode() if place < len(events) else "nothing" for events in (expected, found))
        if right != wrong:
            asked = record[2].decode(errors="replace")
            return f"of record {record[0]}\n  {asked}\nthe oracle says\n  {right}\nand the engine\n  {wrong}"
    return None


def other_standing(oracle: Oracle, engine: Any) -> str | None:
    """What is not the same in an engine that said the same."""
    w = oracle.world
    balances = [(*key, *balance) for key, balance in sorted(w.balances.items())]
    orders = [(each.id, each.left, each.hold) for _, each in sorted(w.live.items())]
    positions = [(each.id, each.qty, each.bond_left) for each in w.positions.values()]
    found = engine.balances(), rows(engine.orders(), "left", "hold_micros")
    other = {
        "balances": balances != found[0],
        "orders": orders != found[1],
        "positions": positions != rows(engine.positions(), "qty", "bond_left_micros"),
        "link": w.link != engine.link,
    }
    names = ", ".join(name for name, differs in other.items() if differs)
    return f"the same events, but other {names}" if names else None


def rows(described: list[dict], *names: str) -> list[tuple]:
    return [tuple(each[name] for name in ("id", *names)) for each in described]
