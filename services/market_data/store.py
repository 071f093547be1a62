"""History in PostgreSQL: trades, candles, index values, each transaction with the cursor and the outbox."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from decimal import Decimal
from typing import Any

import asyncpg
import orjson
import structlog

from schemas.events import IndexSet
from schemas.ids import contract_start_s, product_of
from services.kit import store as kit
from services.kit.doubts import doubting, is_passing
from services.kit.store import Pool, Position
from services.market_data.candles import Candle
from services.market_data.history import History, PastIndex, PastTrade

PACKAGE = "services.market_data"
SCHEMA = CONSUMER = "market_data"
RETRY_DELAY_S = 0.5
QUERIES = kit.load_queries(PACKAGE)


async def open_pool(settings: Any) -> Pool:
    return await kit.open_pool(settings, SCHEMA, PACKAGE)


async def read_position(pool: Pool, shard: int) -> Position:
    async with pool.acquire() as connection:
        return await kit.read_position(connection, CONSUMER, shard)


async def write(pool: Pool, shard: int, old: Position, new: Position, history: History) -> None:
    """Write a batch and move the cursor, waiting for PostgreSQL as long as it is away. Raises Fenced.

    Where a row cannot be written, that row alone is logged and left out.
    """
    first = whole = True
    while True:
        try:
            async with pool.acquire() as connection, connection.transaction():
                if not first and await kit.read_position(connection, CONSUMER, shard) == new:
                    return
                for part in (history,) if whole else history.rows():
                    async with nullcontext() if whole else doubting(connection, new.seq, "a row"):
                        await _write(connection, part)
                await kit.advance(connection, CONSUMER, shard, old, new)
                return
        except kit.Fenced:
            raise
        except Exception as error:
            first = False
            if is_passing(error):
                structlog.get_logger().warning("waiting for PostgreSQL", error=str(error))
                await asyncio.sleep(RETRY_DELAY_S)
            elif whole:
                whole = False
            else:
                raise


async def _write(connection: asyncpg.Connection, history: History) -> None:
    if history.trades:
        rows = [
            (t.seq, t.ts_ms, t.trade_id, t.contract, product_of(t.contract), t.price_micros, t.qty, t.taker_side)
            for t in history.trades
        ]
        await connection.execute(QUERIES.insert_trades, *_columns(rows))
    if history.candles:
        await connection.execute(QUERIES.upsert_candles, *_columns([_candle(c) for c in history.candles.values()]))
    if history.indexes:
        await connection.execute(QUERIES.insert_indexes, *_columns([_index(event) for event in history.indexes]))
    for fixing in history.fixings:
        # One batch for each gate, so that a rebuilt outbox knows them again in the log.
        await kit.enqueue(connection, fixing)


async def trades(pool: Pool, sym: str | None, before: int, limit: int) -> list[PastTrade]:
    """Return trades of a contract, a product or all with a sequence below `before`, newest first."""
    contract = sym if sym and "-" in sym else None
    found = await _fetch(pool, QUERIES.select_trades, contract, None if contract else sym, before, limit)
    return [PastTrade(**row) for row in found]


async def candles(
    pool: Pool, sym: str, interval: str, from_ms: int, to_ms: int, limit: int, log_ms: int
) -> list[Candle]:
    """Return the candles that start in [from_ms, to_ms), newest first; final are those that log time has passed."""
    rows = await _fetch(pool, QUERIES.select_candles, sym, interval, from_ms, to_ms, limit)
    found = []
    for row in rows:
        members = dict(row)
        members["turnover"] = int(members["turnover"])
        found.append(Candle(**members, final=row["end_ms"] <= log_ms))
    return found


async def indexes(pool: Pool, product: str, before_ms: int, limit: int) -> list[PastIndex]:
    """Return the index values of deliveries that start before a time, latest first."""
    found = await _fetch(pool, QUERIES.select_indexes, product, before_ms, limit)
    return [PastIndex(**row) for row in found]


async def put_relayed(
    pool: Pool, channel: str, items: Sequence[tuple[str, int, dict[str, Any]]], topic: str, ends: Mapping[int, int]
) -> None:
    """Keep the newest item under each key, and up to where the topic is taken then."""
    newest = {key: (key, seq, orjson.dumps(item).decode()) for key, seq, item in items}
    async with pool.acquire() as connection, connection.transaction():
        if newest:
            await connection.execute(QUERIES.put_relayed, channel, *_columns(list(newest.values())))
        await kit.note_taken(connection, topic, ends)


async def recent_relayed(pool: Pool, channel: str, limit: int) -> list[tuple[str, int, dict[str, Any]]]:
    """Return the newest items, oldest first."""
    rows = await pool.fetch(QUERIES.recent_relayed, channel, limit)
    return [(row["key"], row["seq"], orjson.loads(row["item"])) for row in rows]


async def generation(pool: Pool) -> str:
    """Return the name of this life of the schema; a rebuilt one has another."""
    return await pool.fetchval(QUERIES.generation)


async def _fetch(pool: Pool, query: str, *arguments: Any) -> list[asyncpg.Record]:
    """Read rows. Raises kit's DatabaseAway where PostgreSQL does not answer."""
    try:
        return await pool.fetch(query, *arguments)
    except kit.AWAY as error:
        raise kit.DatabaseAway(str(error)) from error


def _columns(rows: Sequence[tuple]) -> list[list]:
    return [list(column) for column in zip(*rows, strict=True)]


def _candle(c: Candle) -> tuple:
    prices = (c.open_micros, c.high_micros, c.low_micros, c.close_micros)
    return (c.sym, c.interval, c.start_ms, c.end_ms, *prices, c.qty, Decimal(c.turnover), c.trades, c.seq)


def _index(e: IndexSet) -> tuple:
    start_ms = contract_start_s(e.contract) * 1000
    head = (e.contract, product_of(e.contract), start_ms, e.seq, e.ts_ms)
    return (*head, e.index_micros, e.level, e.method, e.inputs_digest)
