"""Replays the command log from its first record in a fresh engine, and compares every event with the event log."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from matching_engine import ENGINE_NAME, Engine
from schemas.topics import COMMANDS, EVENTS
from services.matching import domain
from services.matching.event_tail import EventTail
from services.matching.kafka import LogReader
from services.matching.settings import MatchingSettings

EVENTS_WITHIN_S = 15
BALANCE_FIELDS = ("account", "asset", "available_micros", "held_micros")


@dataclass
class Replay:
    """An engine that has read the log up to some offset, and how what it said compares."""

    engine: Engine
    compared: int = 0
    difference: str | None = None
    duration_ms: int = 0

    @property
    def identical(self) -> bool:
        """Whether the event log has the same bytes, event for event."""
        return self.difference is None

    def summary(self) -> dict[str, Any]:
        """Return all of it as plain data."""
        engine = self.engine
        return {
            "identical": self.identical,
            "difference": self.difference,
            "engine": ENGINE_NAME,
            "commands": engine.next_offset,
            "events": self.compared,
            "seq": engine.seq,
            "link": engine.link.hex(),
            "epoch": engine.epoch,
            "log_time_ms": engine.log_time_ms,
            "balance_digest": engine.balance_digest(),
            "balances": [dict(zip(BALANCE_FIELDS, row, strict=True)) for row in engine.balances()],
            "duration_ms": self.duration_ms,
        }


async def replay(settings: MatchingSettings, until_offset: int | None = None) -> Replay:
    """Replay the records before `until_offset` (default: all that the log has now), beside a running exchange or not.

    Stops at the first difference. The engine may write its newest events a little later: they are waited for.
    """
    commands, start = LogReader(settings, COMMANDS.name), time.monotonic()
    await commands.open()
    tail = await EventTail.open(settings, EVENTS.name)
    done = Replay(Engine())
    try:
        end = await commands.end()
        end = end if until_offset is None else min(until_offset, end)
        while done.engine.next_offset < end and done.identical:
            records = [record for record in await commands.fetch() if record.offset < end]
            computed = done.engine.apply([(record.offset, record.timestamp, record.value or b"") for record in records])
            await _compare(done, computed, tail)
    finally:
        await commands.close()
        await tail.close()
    done.duration_ms = int((time.monotonic() - start) * 1000)
    return done


async def _compare(done: Replay, computed: list[bytes], tail: EventTail) -> None:
    logged = await tail.take(len(computed))
    give_up_s = time.monotonic() + EVENTS_WITHIN_S
    while len(logged) < len(computed) and time.monotonic() < give_up_s:
        await asyncio.sleep(0.1)
        await tail.extend()
        logged += await tail.take(len(computed) - len(logged))
    try:
        domain.check_same(computed, logged)
    except domain.LogsDiffer as difference:
        done.difference = str(difference)
    done.compared += len(logged)
