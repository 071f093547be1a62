"""market_data through restarts, kills and the loss of its tables: the log has everything."""

import asyncio
import json
import re
import signal
import time

import asyncpg
import httpx
import pytest
import websockets
from aiokafka import AIOKafkaConsumer

from schemas.topics import COMMANDS, LISTINGS_EVENTS
from tests.fixtures.command_log import consume
from tests.fixtures.event_log import CONTRACT, PRODUCT, EventLog, accepted, traded
from tests.fixtures.hardware_events import listing_changed
from tests.fixtures.market_data import running_service

P = 12_840_000
NOW_MS = time.time_ns() // 1_000_000
HOUR_MS = 3_600_000
OUTBOX_ROWS = "select number, sent, recovered_until from market_data.outbox order by number"
TABLES = ("trade", "candle", "index_value", "relayed")


@pytest.fixture
def log():
    log = EventLog(ts_ms=NOW_MS)
    log.open_market()
    log.command(accepted(1, "sell", 8, P + 10_000))
    log.command(accepted(10, "buy", 3, P + 10_000), traded(1, 10, 3, P + 10_000, left=(5, 0)))
    return log


async def first_book_message(service, from_seq):
    async with websockets.connect(service.ws) as feed:
        await feed.send(json.dumps({"op": "subscribe", "ch": "book", "syms": [CONTRACT], "from_seq": from_seq}))
        while True:
            message = json.loads(await asyncio.wait_for(feed.recv(), 10))
            if message["ch"] == "book":
                return message


async def drop_schema(url):
    connection = await asyncpg.connect(url)
    await connection.execute("drop schema market_data cascade")
    await connection.close()


async def contents(url):
    connection = await asyncpg.connect(url)
    rows = {table: sorted(map(tuple, await connection.fetch(f"select * from market_data.{table}"))) for table in TABLES}
    await connection.close()
    return rows


async def contents_with(url, **counts):
    """Waits until the tables hold so many rows, and returns them."""
    async with asyncio.timeout(20):
        while True:
            found = await contents(url)
            if all(len(found[table]) == count for table, count in counts.items()):
                return found
            await asyncio.sleep(0.1)


async def privileged_batches(kafka, count):
    consumer = AIOKafkaConsumer(COMMANDS.name, bootstrap_servers=kafka, auto_offset_reset="earliest")
    await consumer.start()
    try:
        return [json.loads((await asyncio.wait_for(consumer.getone(), 10)).value) for _ in range(count)]
    finally:
        await consumer.stop()


async def outbox_with(url, count):
    """Waits until the outbox has decided so many batches in this life, and returns its rows."""
    connection = await asyncpg.connect(url)
    async with asyncio.timeout(20):
        while True:
            rows = list(map(tuple, await connection.fetch(OUTBOX_ROWS)))
            if len(rows) == count and all(recovered is None for *_, recovered in rows):
                await connection.close()
                return rows
            await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_the_ring_is_filled_from_the_log_at_the_start_as_far_as_it_reaches(writer, start_market_data, log):
    await writer.write(log)
    with start_market_data(market_data_ring_span_ms=HOUR_MS) as service:
        await service.ready()
        delta = await first_book_message(service, from_seq=4)
    with start_market_data(market_data_ring_span_ms=0) as service:
        await service.ready()
        snapshot = await first_book_message(service, from_seq=4)
    assert (delta["type"], delta["prev_seq"], delta["seq"]) == ("delta", 4, 6)
    assert (snapshot["type"], snapshot["seq"], snapshot["resync"]) == ("snapshot", 6, True)


@pytest.mark.slow
async def test_the_index_is_fixed_once_at_the_gate_though_the_outbox_is_lost(
    writer, start_market_data, log, own_kafka, fresh_database
):
    locked = ("ContractStateChanged", {"contract": CONTRACT, "state": "LOCKED", "positions": 1})
    log.command(locked, ts_ms=NOW_MS + 1000)
    await writer.write(log)
    with start_market_data() as service:
        await service.ready()
        (first,) = await privileged_batches(own_kafka.address, 1)
        service.stop(signal.SIGKILL)
    await drop_schema(fresh_database)
    with start_market_data() as service:
        await service.ready()
        rows = await outbox_with(fresh_database, 1)
    assert await consume(own_kafka.address, COMMANDS.name) == [json.dumps(first, separators=(",", ":")).encode()]
    assert rows == [(1, True, None)]
    assert (first["source"], first["number"]) == ("market_data", 1)
    (command,) = first["commands"]
    fixed = [command[name] for name in ("type", "contract", "index_micros", "level")]
    assert fixed == ["index_fixed", CONTRACT, P + 10_000, 5]


@pytest.mark.slow
async def test_the_feed_goes_on_while_the_database_is_away_and_history_follows(
    writer, own_kafka, own_postgres, tmp_path, log
):
    await writer.write(log)
    settings = {"kafka": own_kafka.address, "database_url": own_postgres.address, "market_data_ring_span_ms": HOUR_MS}
    with running_service("market_data", tmp_path, **settings) as service:
        await service.ready()
        own_postgres.kill()
        log.command(accepted(20, "buy", 2, P + 10_000), traded(1, 20, 2, P + 10_000, left=(3, 0)))
        await writer.write(log)
        delta = await first_book_message(service, from_seq=6)
        with pytest.raises(httpx.HTTPStatusError) as refused:
            await service.get("/v1/trades", sym=CONTRACT)
        own_postgres.start()
        async with asyncio.timeout(20):
            while (trades := await trades_of(service)) is None:
                await asyncio.sleep(0.2)
    assert (delta["prev_seq"], delta["seq"]) == (6, 8)
    problem = refused.value.response.json()
    assert (problem["status"], problem["code"], problem["retryable"]) == (503, "unavailable", True)
    assert [trade["seq"] for trade in trades] == [8, 6]


async def trades_of(service):
    try:
        return (await service.get("/v1/trades", sym=CONTRACT))["items"]
    except httpx.HTTPStatusError:
        return None


@pytest.mark.slow
async def test_dropped_tables_are_rebuilt_to_the_same_content(writer, start_market_data, log, fresh_database):
    for n in range(40):
        maker, taker, price = 100 + 2 * n, 101 + 2 * n, P + 10_000 * n
        log.command(accepted(maker, "sell", 2, price), ts_ms=NOW_MS + 7_000 * n)
        log.command(
            accepted(taker, "buy", 2, price),
            traded(maker, taker, 1, price, left=(1, 1)),
            traded(maker, taker, 1, price, left=(0, 0), trade_id=10**9 + n),
        )
    index = {"contract": CONTRACT, "index_micros": P, "level": 5, "method": "HBX-1", "inputs_digest": "0" * 64}
    log.command(("IndexSet", index))
    await writer.write(log)
    await writer.publish(LISTINGS_EVENTS.name, "l1", listing_changed("l1", seq=1).canonical())
    with start_market_data() as service:
        await service.ready()
        before = await contents_with(fresh_database, trade=81, relayed=1)
        candles = (await service.get("/v1/candles", sym=PRODUCT, interval="1m"))["items"]
    await drop_schema(fresh_database)
    with start_market_data() as service:
        await service.ready()
        assert await contents_with(fresh_database, trade=81, relayed=1) == before
    assert [candle["final"] for candle in candles] == [False, *[True] * (len(candles) - 1)]
    assert sum(int(candle["qty"]) for candle in candles) == 83


SNAPSHOTS = {"market_data_fold_every_events": 1, "market_data_ring_span_ms": 0}


async def applied(service):
    """How many events this life of the service has applied."""
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"{service.url}/metrics")).text
    return int(float(re.search(r"^hourbook_market_data_events_total (\S+)$", text, re.MULTILINE)[1]))


async def snapshot_of(folder, seq):
    """Waits until the snapshot up to `seq` is on disk, and returns its file."""
    async with asyncio.timeout(20):
        while not (found := list((folder / "folds").glob(f"market-*{seq}.fold"))):
            await asyncio.sleep(0.05)
    return found[0]


async def public_state(service):
    paths = ("/v1/products", f"/v1/book/{CONTRACT}", f"/v1/curve/{PRODUCT}")
    state = [await service.get(path) for path in paths]
    return [*state, await service.get("/v1/ticker", sym=CONTRACT), await service.get("/v1/trades", sym=CONTRACT)]


@pytest.mark.slow
async def test_a_restart_reads_only_what_came_after_the_snapshot(writer, start_market_data, log, tmp_path):
    await writer.write(log)
    with start_market_data(**SNAPSHOTS) as service:
        await service.ready()
        await snapshot_of(tmp_path, seq=6)
        await service.get("/v1/trades", sym=CONTRACT)  # answered once the tables have everything
        service.stop(signal.SIGKILL)
    log.command(accepted(20, "buy", 2, P + 10_000), traded(1, 20, 2, P + 10_000, left=(3, 0)))
    await writer.write(log)
    with start_market_data(**SNAPSHOTS) as service:
        await service.ready()
        read, state = await applied(service), await public_state(service)
    for path in (tmp_path / "folds").iterdir():
        path.unlink()
    with start_market_data() as service:
        await service.ready()
        assert (read, await applied(service)) == (2, 8)
        assert await public_state(service) == state


@pytest.mark.slow
async def test_a_damaged_snapshot_or_a_dropped_schema_is_answered_by_reading_the_whole_log(
    writer, start_market_data, log, tmp_path, fresh_database
):
    await writer.write(log)
    with start_market_data(**SNAPSHOTS) as service:
        await service.ready()
        snapshot, state = await snapshot_of(tmp_path, seq=6), await public_state(service)
        before = await contents_with(fresh_database, trade=1)
    whole = snapshot.read_bytes()
    snapshot.write_bytes(whole[:-1] + b"!")
    with start_market_data(**SNAPSHOTS) as service:
        await service.ready()
        assert (await applied(service), await public_state(service)) == (6, state)
    snapshot.write_bytes(whole)
    await drop_schema(fresh_database)
    with start_market_data(**SNAPSHOTS) as service:
        await service.ready()
        assert (await applied(service), await public_state(service)) == (6, state)
        assert await contents_with(fresh_database, trade=1) == before
