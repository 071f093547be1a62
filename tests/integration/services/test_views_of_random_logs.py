"""What the services' tables hold of a random log, on a real PostgreSQL, with a restart of each service in between; and
what becomes of an event, or a row, that cannot be taken.
"""

from collections import Counter
from itertools import groupby

import pytest

from schemas.events import EVENT, AnyEvent, CommandRejected, HardwareLocked
from services.delivery import contracts
from services.delivery import store as delivery_store
from services.delivery.effects import Effects
from services.delivery.settings import Settings as DeliverySettings
from services.gateway.handlers import WholeCommands
from services.gateway.projections.apply import apply
from services.gateway.projections.history import History
from services.gateway.projections.records import Order
from services.gateway.settings import GatewaySettings
from services.gateway.store import Store, rows_of
from services.kit import store as kit
from services.kit.events import EventBatch
from services.kit.store import Position
from services.ledger.domain import LedgerMismatch, corrected_positions, plan_batch
from services.ledger.settings import LedgerSettings
from services.ledger.store import LedgerStore
from services.listings import handlers as listings
from services.listings import store as listings_store
from services.listings.moves import Moves
from services.listings.settings import Settings as ListingsSettings
from services.market_data import store as market_store
from services.market_data.domain import Market
from services.market_data.history import History as MarketHistory
from services.market_data.settings import Settings as MarketSettings
from tests.engine.all_kinds import AllKinds
from tests.fixtures.event_log import EventLog, accepted, traded
from tests.fixtures.money_log import MoneyLog
from tests.property.services.followers import (
    ENGINE,
    Gateway,
    balances_of,
    doubted,
    expect,
    nonzero,
)
from tests.scenarios.venue import gpu_uuid

SEED = 11
EVENTS = 1_500
BATCH = 150
RESTART_EVERY = 3  # batches
START = Position(0, 0, None)


@pytest.fixture(scope="module")
def followed() -> tuple[object, list[AnyEvent]]:
    """An engine after a random log, and its events."""
    log, engine = AllKinds(SEED), ENGINE()
    raws: list[bytes] = []
    while len(raws) < EVENTS:
        raws += engine.apply(log.take(40))
        log.look(engine)
    return engine, [EVENT.validate_json(raw) for raw in raws]


def batches_of(events: list[AnyEvent]) -> list[EventBatch]:
    cuts = (events[start : start + BATCH] for start in range(0, len(events), BATCH))
    return [EventBatch(tuple(cut), (), cut[-1].seq, cut[-1].ts_ms, cut[-1].seq) for cut in cuts]


async def gateway_store(url: str) -> tuple[kit.Pool, Store]:
    pool = await kit.open_pool(GatewaySettings(database_url=url), "gateway", "services.gateway")
    return pool, Store(pool, 0)


async def test_the_gateways_tables_hold_what_the_engine_holds_over_restarts(followed, fresh_database):
    engine, events = followed
    pool, store = await gateway_store(fresh_database)
    before = doubted()
    for number, batch in enumerate(batches_of(events)):
        if number % RESTART_EVERY == 0:
            await pool.close()
            pool, store = await gateway_store(fresh_database)
            restored, history = await store.restore(), History()
            position = restored.position
            views = (restored.records, restored.products, restored.programmes)
            history.restore(*views, position.seq, restored.newest_order_id)
            whole = WholeCommands(position)
            batch = EventBatch(tuple(events[position.seq : batch.last_seq]), (), *batch_ends(batch))
        taken, after = whole.cut(batch)
        for event in taken:
            apply(history, event)
        changes = history.drain_changes()
        await store.flush(rows_of(changes, after), position)
        history.forget(changes)
        position = after
    followed_by = Gateway()
    followed_by.history = history
    rows = await pool.fetch("select * from orders")
    followed_by.tables["orders"] = {row["order_id"]: Order(**row) for row in rows}
    followed_by.compare(engine)
    assert (position.seq, doubted()) == (len(events), before)
    await pool.close()


def batch_ends(batch: EventBatch) -> tuple[int, int, int]:
    return batch.last_seq, batch.last_ts_ms, batch.next_offset


async def test_the_ledgers_books_are_the_engines_over_restarts(followed, fresh_database):
    engine, events = followed
    settings, position = LedgerSettings(database_url=fresh_database), START
    for batch in batches_of(events):
        store = LedgerStore(settings)
        pool = await store.open()
        assert (await store.position()).seq == position.seq
        _, balances = await store.balances()
        before = await store.delivered(corrected_positions(batch.events))
        after = Position(batch.last_seq, batch.next_offset, None)
        await store.post(plan_batch(batch.events, balances, before), position, after)
        position = after
        _, balances = await store.balances()
        await pool.close()
    expect("ledger", nonzero(dict(balances)), nonzero(balances_of(engine)))


async def test_the_publics_tables_have_every_trade_once(followed, fresh_database):
    _, events = followed
    market, position = Market(), START
    pool = await market_store.open_pool(MarketSettings(database_url=fresh_database))
    await market_store.read_position(pool, 0)
    commands = [list(command) for _, command in groupby(events, key=lambda event: event.in_offset)]
    for some in (commands[start : start + 40] for start in range(0, len(commands), 40)):
        history = MarketHistory()
        for command in some:
            history.add(market.apply(command))
        after = Position(some[-1][-1].seq, some[-1][-1].seq, None)
        await market_store.write(pool, 0, position, after, history)
        position = after
    found = await pool.fetch("select trade_id, contract, qty from trade order by trade_id")
    trades = [(event.trade_id, event.contract, event.qty) for event in events if event.type == "trade"]
    assert [tuple(row) for row in found] == trades
    assert await market_store.read_position(pool, 0) == position
    await pool.close()


async def test_delivery_has_the_engines_positions_over_restarts(followed, fresh_database):
    engine, events = followed
    settings, position, before = DeliverySettings(database_url=fresh_database), START, doubted()
    # Its own commands were never in its outbox here, so what became of them is no business of this table.
    events = [event for event in events if not isinstance(event, CommandRejected)]
    for batch in batches_of(events):
        pool = await delivery_store.open_pool(settings)
        async with pool.acquire() as connection:
            position = await kit.read_position(connection, contracts.CONSUMER, settings.shard)
        await contracts.take_batch(Effects(pool, ()), settings, position, batch)
        rows = await pool.fetch("select position_id, contract, buyer, operator, qty from position where not final")
        await pool.close()
    names = ("id", "contract", "buyer", "operator", "qty")
    assert sorted(map(tuple, rows)) == [tuple(each[name] for name in names) for each in engine.positions()]
    assert doubted() == before


async def test_listings_read_any_log_to_its_end(followed, fresh_database):
    _, events = followed
    settings, position = ListingsSettings(database_url=fresh_database), START
    moves = Moves(settings.periods, settings.listings_outage_ms)
    for batch in batches_of(events):
        pool = await listings_store.open_pool(settings)
        position = await listings_store.read_position(pool, settings.shard)
        position = await listings.handle_batch(pool, moves, settings.shard, position, batch, batch.last_ts_ms)
        await pool.close()
    assert position.seq == len(events)


# -- what cannot be taken


async def test_delivery_leaves_out_the_one_event_that_it_cannot_take(fresh_database):
    log = EventLog()
    log.command(accepted(1, "sell", 4, 12_840_000), traded(1, 2, 1, 12_840_000, left=(3, 0)))  # no product yet
    log.open_market(periods=1)
    log.command(traded(1, 3, 1, 12_840_000, left=(2, 0)))
    settings, before = DeliverySettings(database_url=fresh_database), doubted()
    pool = await delivery_store.open_pool(settings)
    async with pool.acquire() as connection:
        position = await kit.read_position(connection, contracts.CONSUMER, settings.shard)
    (batch,) = batches_of(log.events)
    after = await contracts.take_batch(Effects(pool, ()), settings, position, batch)
    async with pool.acquire() as connection:
        assert await kit.read_position(connection, contracts.CONSUMER, settings.shard) == after
    assert [row["position_id"] for row in await pool.fetch("select position_id from position")] == [1_003]
    assert doubted() == before + 1
    await pool.close()


async def test_listings_leave_out_the_one_event_that_they_cannot_take(fresh_database, monkeypatch):
    log = EventLog()
    for number in range(3):
        fields = {"listing_id": f"L{number}", "account": "op", "gpus": (gpu_uuid("n1", number),)}
        log.command(("HardwareLocked", fields))
    seen: Counter[str] = Counter()

    async def on_locked(store, moves, event):
        seen[event.listing_id] += 1
        await store.connection.execute("select 1 / $1::integer", 0 if event.listing_id == "L1" else 1)

    monkeypatch.setitem(listings.HANDLERS, HardwareLocked, on_locked)
    settings, before = ListingsSettings(database_url=fresh_database), doubted()
    pool, moves = await listings_store.open_pool(settings), Moves(settings.periods, settings.listings_outage_ms)
    position = await listings_store.read_position(pool, settings.shard)
    (batch,) = batches_of(log.events)
    after = await listings.handle_batch(pool, moves, settings.shard, position, batch, batch.last_ts_ms)
    assert await listings_store.read_position(pool, settings.shard) == after
    assert (seen["L2"], doubted()) == (1, before + 1)
    await pool.close()


async def test_the_gateway_leaves_out_the_one_row_that_it_cannot_write(fresh_database):
    log = EventLog()
    log.open_market(periods=1)
    log.command(accepted(1, "buy", 1, 12_840_000))
    log.command(accepted(2, "buy", 1, 12_840_000))
    pool, store = await gateway_store(fresh_database)
    history, position, before = History(), await store.position(), doubted()
    for event in log.events:
        apply(history, event)
    history.orders[1].kind = "a kind that is not known yet"
    after = Position(len(log.events), 7, None)
    await store.flush(rows_of(history.drain_changes(), after), position)
    restored = await store.restore()
    assert [record.order_id for record in restored.records if isinstance(record, Order)] == [2]
    assert (restored.position, doubted()) == (after, before + 1)
    await pool.close()


async def test_market_data_leaves_out_the_one_row_that_it_cannot_write(fresh_database):
    log = EventLog()
    log.open_market(periods=1)
    log.command(accepted(1, "sell", 4, 12_840_000))
    log.command(accepted(2, "buy", 3, 12_840_000), traded(1, 2, 2, 12_840_000, left=(2, 1)))
    market, history, before = Market(), MarketHistory(), doubted()
    for command in log.commands:
        history.add(market.apply(command))
    history.trades.append(history.trades[0].model_copy(update={"seq": 99, "trade_id": 99, "qty": 2**70}))
    pool = await market_store.open_pool(MarketSettings(database_url=fresh_database))
    position, after = await market_store.read_position(pool, 0), Position(7, 7, None)
    await market_store.write(pool, 0, position, after, history)
    assert [row["trade_id"] for row in await pool.fetch("select trade_id from trade")] == [1_002]
    assert await market_store.read_position(pool, 0) == after
    assert doubted() == before + 1
    await pool.close()


async def test_the_ledger_halts_where_a_row_cannot_be_written(fresh_database):
    log = MoneyLog()
    log.credit("alice", 100, "t1")
    store = LedgerStore(LedgerSettings(database_url=fresh_database))
    pool = await store.open()
    position, plan = await store.position(), plan_batch(log.events, {}, {})
    plan.transfers = [*plan.transfers, *plan.transfers]  # one leg twice
    with pytest.raises(LedgerMismatch):
        await store.post(plan, position, Position(1, 1, None))
    assert await store.position() == position
    await pool.close()
