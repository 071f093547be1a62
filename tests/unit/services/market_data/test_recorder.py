"""Writing behind the feed: in order, one transaction at a time, everything once, and never without a bound."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from services.kit.store import Position
from services.market_data import store
from services.market_data.domain import Changes
from services.market_data.history import Stored
from services.market_data.recorder import Recorder
from services.market_data.settings import Settings

CURSOR = Position(10, 10, None)


class Tables:
    """What `store.write` was asked to write; `open` lets it finish."""

    def __init__(self):
        self.writes, self.open = [], asyncio.Event()

    async def write(self, pool, shard, old, new, history):
        await self.open.wait()
        self.writes.append((old.seq, new.seq, list(history.trades)))


def traded(seq):
    return Changes(seq=seq, ts_ms=seq, trades=[f"trade {seq}"])


async def take(recorder, seq):
    recorder.add(traded(seq))
    await recorder.note(Position(seq, seq, None))


@pytest.fixture
def tables(monkeypatch):
    tables = Tables()
    monkeypatch.setattr(store, "write", tables.write)
    return tables


@asynccontextmanager
async def recording(stored=None, **settings):
    settings = Settings(market_data_write_pause_s=0, **settings)
    recorder = Recorder(settings, None, CURSOR, stored or Stored(), lambda: None)
    task = asyncio.create_task(recorder.run())
    yield recorder
    task.cancel()


async def test_what_comes_while_a_transaction_lasts_is_written_together_in_the_next(tables):
    stored = Stored()
    async with recording(stored) as recorder:
        await take(recorder, 11)
        await asyncio.sleep(0)
        await take(recorder, 12)
        await take(recorder, 13)
        before, _ = stored.seq, tables.open.set()
        await stored.reach(13)
    assert before == 0
    assert tables.writes == [(10, 11, ["trade 11"]), (11, 13, ["trade 12", "trade 13"])]


async def test_what_the_tables_have_is_not_written_again_but_counts_as_stored(tables):
    stored = Stored()
    tables.open.set()
    async with recording(stored) as recorder:
        await take(recorder, 9)
        await stored.reach(9)
        await take(recorder, 11)
        await stored.reach(11)
    assert tables.writes == [(10, 11, ["trade 11"])]


async def test_the_reader_waits_while_too_much_is_unwritten(tables):
    async with recording(market_data_unwritten_rows_max=2) as recorder:
        await take(recorder, 11)
        await asyncio.sleep(0)  # the first is being written now
        await take(recorder, 12)
        await take(recorder, 13)
        held_back = asyncio.create_task(take(recorder, 14))
        await asyncio.sleep(0.05)
        waited = not held_back.done()
        tables.open.set()
        await asyncio.wait_for(held_back, 2)
    assert waited
    assert tables.writes == [(10, 11, ["trade 11"]), (11, 14, ["trade 12", "trade 13", "trade 14"])]
