"""A long fetch is applied in a thread; whoever cancels or reads meanwhile waits until the engine is at rest."""

import asyncio
import threading
from types import SimpleNamespace

import pytest

from services.matching.handlers import Matching
from services.matching.settings import MatchingSettings


class SlowEngine:
    """Applies one fetch, and only when it is let."""

    def __init__(self):
        self.begun, self.let, self.threads = threading.Event(), threading.Event(), []
        self.next_offset, self.seq, self.epoch = 0, 0, 0

    def apply(self, records):
        self.begun.set()
        self.let.wait(5)
        self.threads.append(threading.current_thread())
        self.next_offset += len(records)
        return []


class Log:
    """Always has the same records; counts how often it was read ahead."""

    def __init__(self, records: int):
        self.records = [SimpleNamespace(offset=offset, timestamp=0, value=b"") for offset in range(records)]
        self.read_ahead_times = 0

    async def fetch(self):
        return self.records

    async def read_ahead(self):
        self.read_ahead_times += 1


def make_matching(engine: SlowEngine, log: Log) -> Matching:
    async def write(events):
        return None

    writer = SimpleNamespace(acknowledged_seq=0, write=write)
    snapshots = SimpleNamespace(poll=lambda seq: None, busy=True)
    tail = SimpleNamespace(exhausted=True)
    return Matching(MatchingSettings(apply_aside_min=2), engine, log, tail, writer, snapshots)


async def test_a_short_fetch_is_applied_on_the_loop_and_a_long_one_beside_it():
    engine = SlowEngine()
    engine.let.set()
    for records in (1, 2):
        await make_matching(engine, Log(records)).step()
    assert [thread is threading.main_thread() for thread in engine.threads] == [True, False]


async def test_while_a_long_fetch_is_applied_the_next_one_is_read():
    engine, log = SlowEngine(), Log(2)
    step = asyncio.create_task(make_matching(engine, log).step())
    await asyncio.to_thread(engine.begun.wait, 5)
    meanwhile = log.read_ahead_times, engine.next_offset
    engine.let.set()
    await step
    assert (meanwhile, engine.next_offset) == ((1, 0), 2)


async def test_a_step_that_is_cancelled_ends_only_when_the_engine_is_at_rest():
    engine = SlowEngine()
    step = asyncio.create_task(make_matching(engine, Log(2)).step())
    await asyncio.to_thread(engine.begun.wait, 5)
    step.cancel()
    await asyncio.sleep(0.01)
    moving = step.done(), engine.next_offset
    engine.let.set()
    with pytest.raises(asyncio.CancelledError):
        await step
    assert (moving, engine.next_offset) == ((False, 0), 2)


async def test_a_reader_waits_until_the_fetch_in_hand_is_applied():
    engine = SlowEngine()
    matching = make_matching(engine, Log(2))
    step = asyncio.create_task(matching.step())
    await asyncio.to_thread(engine.begun.wait, 5)
    reading = asyncio.create_task(read_offset(matching))
    await asyncio.sleep(0.01)
    waited = not reading.done()
    engine.let.set()
    await step
    assert (waited, await reading) == (True, 2)


async def read_offset(matching: Matching) -> int:
    async with matching.at_rest:
        return matching.engine.next_offset
