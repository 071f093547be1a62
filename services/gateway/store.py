"""The gateway's tables: history written in batches with its cursor, pages read newest first."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import asyncpg
import orjson

from schemas.accounts import KEY_EVENT, AnyKeyEvent
from schemas.answers import FirstAnswer
from schemas.events import OrderDuplicate
from schemas.topics import DELIVERY_EVENTS, GATEWAY_ANSWERS, KEYS_EVENTS
from schemas.venue import DefineProduct
from schemas.vouchers import DefineProgramme
from services.gateway.projections.history import Changes, Record
from services.gateway.projections.records import Balance, Fill, Order, Position, RejectedOrder, Replacement, Rule
from services.gateway.projections.used_names import UsedNames
from services.kit import store as kit
from services.kit.doubts import doubting, is_passing
from services.kit.http import ProblemError
from services.kit.idempotency import USED, Attempt, keep, restore, to_keep
from services.kit.key_directory import record_name

CONSUMER = "gateway-history"
ANSWER_BYTES_MAX = 900_000  # what the broker takes as one record
QUERIES = kit.load_queries("services.gateway")
Row = TypeVar("Row", Order, RejectedOrder, Fill, Position, Balance)


@dataclass(frozen=True)
class Rows:
    """Changes encoded as JSON arrays of table rows, so that records may change while they are written."""

    tables: dict[str, str]
    after: kit.Position


@dataclass(frozen=True)
class Restored:
    """What is kept in memory, as the tables had it, and where the log goes on."""

    records: list[Record]
    products: list[DefineProduct]
    programmes: list[DefineProgramme]
    position: kit.Position
    newest_order_id: int


def rows_of(changes: Changes, after: kit.Position) -> Rows:
    """Encode changes for `Store.flush`."""
    tables = {
        name: orjson.dumps(list(getattr(changes, name).values())).decode()
        for name in ("orders", "refusals", "replacements", "fills", "positions", "balances", "rules")
        if getattr(changes, name)
    }
    for table, key in (("products", "product"), ("programmes", "programme")):
        if known := getattr(changes, table):
            rows = [{key: name, "terms": terms.model_dump()} for name, terms in known.items()]
            tables[table] = orjson.dumps(rows).decode()
    return Rows(tables, after)


class Store:
    """Every method raises services.kit.store.DatabaseAway while PostgreSQL does not answer."""

    def __init__(self, pool: kit.Pool, shard: int):
        self._pool, self._shard = pool, shard

    async def restore(self) -> Restored:
        """Read open orders, live positions, balances and products, all as of the cursor."""
        async with self._connection(isolation="repeatable_read") as connection:
            position = await kit.read_position(connection, CONSUMER, self._shard)
            records: list[Record] = []
            for query, kind in (("open_orders", Order), ("live_positions", Position), ("all_balances", Balance)):
                records += [kind(**row) for row in await connection.fetch(getattr(QUERIES, query))]
            for row in await connection.fetch(QUERIES.all_rules):
                records.append(Rule(row["account"], row["product"], orjson.loads(row["terms"]), row["seq"]))
            rows = await connection.fetch(QUERIES.all_products)
            products = [DefineProduct.model_validate_json(row["terms"]) for row in rows]
            rows = await connection.fetch(QUERIES.all_programmes)
            programmes = [DefineProgramme.model_validate_json(row["terms"]) for row in rows]
            newest_order_id = await connection.fetchval(QUERIES.newest_order_id)
            return Restored(records, products, programmes, position, newest_order_id)

    async def restore_names(self, names: UsedNames) -> None:
        """Note every client id that the tables have; those that came later are in the events that follow."""
        async with self._connection() as connection:
            async for row in connection.cursor(QUERIES.all_client_ids, prefetch=5_000):
                names.add(row["account"], row["client_order_id"])

    async def node_marks(self) -> dict[str, bool]:
        """Return which nodes are simulated, as far as delivery has said."""
        async with self._connection() as connection:
            return dict(await connection.fetch(QUERIES.all_node_marks))

    async def mark_nodes(self, marks: Mapping[str, bool], ends: Mapping[int, int]) -> None:
        """Note marks of nodes, and up to where `delivery.events` is taken with them."""
        async with self._connection() as connection:
            await connection.execute(QUERIES.mark_nodes, list(marks), list(marks.values()))
            await kit.note_taken(connection, DELIVERY_EVENTS.name, ends)

    async def position(self) -> kit.Position:
        """Return up to where the tables hold the log."""
        async with self._connection() as connection:
            return await kit.read_position(connection, CONSUMER, self._shard)

    async def flush(self, rows: Rows, before: kit.Position) -> None:
        """Write changes and move the cursor, in one transaction. Raises Fenced if another gateway moved it.

        Where a row cannot be written, that row alone is logged and left out.
        """
        try:
            await self._flush(rows, before, whole=True)
        except Exception as error:
            if is_passing(error):
                raise
            await self._flush(rows, before, whole=False)

    async def _flush(self, rows: Rows, before: kit.Position, whole: bool) -> None:
        async with self._connection() as connection:
            # The commit waits for the disk: what `forget` drops from memory afterwards is only here.
            for table, text in rows.tables.items():
                query = getattr(QUERIES, f"save_{table}")
                if whole:
                    await connection.execute(query, text)
                    continue
                for row in orjson.loads(text):
                    async with doubting(connection, rows.after.seq, f"row of {table}"):
                        await connection.execute(query, orjson.dumps([row]).decode())
            await kit.advance(connection, CONSUMER, self._shard, before, rows.after)

    async def order(self, account: str, order_id: int) -> Order | None:
        """Find the account's order by our id."""
        return await self._one(Order, QUERIES.order_by_id, account, order_id)

    async def named(self, account: str, name: str) -> Order | Replacement | RejectedOrder | None:
        """Find the account's latest order under a client's id, or else the replace, or else what was refused."""
        found = await self._one(Order, QUERIES.order_by_client_id, account, name)
        found = found or await self.replacement(account, name)
        return found or await self._one(RejectedOrder, QUERIES.refusal_by_client_id, account, name)

    async def replacement(self, account: str, replace_id: str) -> Replacement | None:
        """Find what a replace of this name left of its order."""
        async with self._connection() as connection:
            row = await connection.fetchrow(QUERIES.replacement, account, replace_id)
        return Replacement(**dict(row) | {"left_as": Order(**orjson.loads(row["left_as"]))}) if row else None

    async def first_result(self, event: OrderDuplicate) -> Order | RejectedOrder | None:
        """Find what the command that came again led to at first."""
        if event.order_id is not None:
            return await self.order(event.account, event.order_id)
        named = (event.account, event.first_offset, event.client_order_id)
        return await self._one(RejectedOrder, QUERIES.refusal_by_offset, *named)

    async def fills_of_command(self, in_offset: int, order_id: int) -> list[Fill]:
        """Return the trades of an order, or of its asks, that one command made."""
        return await self._many(Fill, QUERIES.fills_of_command, in_offset, order_id)

    async def orders(self, account: str, before_seq: int, limit: int, filters: dict[str, Any]) -> list[Order]:
        """Return a page of orders; the asks of a capacity order only when its id is given as `parent_id`."""
        names = ("status", "contract", "product", "side", "parent_id")
        values = [filters.get(name) for name in names]
        node = filters.get("node")
        if node is not None and not filters.get("parent_id"):
            query = QUERIES.open_orders_of_node if filters.get("status") == "open" else QUERIES.orders_of_node
            return await self._many(Order, query, account, before_seq, limit, *values, node)
        query = QUERIES.orders_of_parent if filters.get("parent_id") else QUERIES.orders_of_account
        return await self._many(Order, query, account, before_seq, limit, *values)

    async def ask_levels(self, account: str, product: str) -> list[tuple[str, int, int]]:
        """Return what of a product's books is the account's own: open asks as (contract, micro-units, GPUs)."""
        async with self._connection() as connection:
            rows = await connection.fetch(QUERIES.ask_levels_of_account, account, product)
            return [(row["contract"], row["price_micros"], row["qty"]) for row in rows]

    async def fills(self, account: str, before_seq: int, limit: int, filters: dict[str, Any]) -> list[Fill]:
        """Return a page of trades in which the account has part."""
        values = (filters.get("contract"), filters.get("order_id"))
        return await self._many(Fill, QUERIES.fills_of_account, account, before_seq, limit, *values)

    async def positions(self, account: str, before_seq: int, limit: int, filters: dict[str, Any]) -> list[Position]:
        """Return a page of the account's positions, bought and served."""
        values = (filters.get("contract"), filters.get("state"), filters.get("role"))
        node = filters.get("node")
        if node is not None:
            is_open = filters.get("state") == "OPEN"
            query = QUERIES.open_positions_of_node if is_open else QUERIES.positions_of_node
            return await self._many(Position, query, account, before_seq, limit, *values, node)
        return await self._many(Position, QUERIES.positions_of_account, account, before_seq, limit, *values)

    async def first_answer(self, asked: Attempt) -> str | None:
        """Return the first answer to a request under an idempotency key. Raises `conflict` for another request."""
        async with self._connection() as connection:
            known = await connection.fetchrow(kit.QUERIES.first_answer, asked.account, asked.key)
        if known is not None and known["request"] != asked.request:
            raise ProblemError("conflict", USED)
        return known["answer"] if known else None

    async def keep_answer(self, asked: Attempt, answer: str) -> None:
        """Keep the first answer to a request, and publish it where a topic takes one so long."""
        first = to_keep(asked, 200, answer)
        published = first.canonical()
        async with self._connection() as connection:
            await keep(connection, first)
            if len(published) <= ANSWER_BYTES_MAX:
                await kit.publish(connection, GATEWAY_ANSWERS.name, asked.account, published)

    async def answers_taken(self) -> int:
        """Return up to where the table has the topic of first answers."""
        async with self._connection() as connection:
            return dict(await connection.fetch(kit.QUERIES.taken, GATEWAY_ANSWERS.name)).get(0, 0)

    async def restore_answers(self, answers: list[FirstAnswer], taken: int) -> None:
        """Write first answers where the table has lost them, and up to where the topic is taken then."""
        async with self._connection() as connection:
            for first in answers:
                await restore(connection, first)
            await kit.note_taken(connection, GATEWAY_ANSWERS.name, {0: taken})

    async def publish(self, record: AnyKeyEvent) -> None:
        """Publish a record of an account, a key or a token, and keep a copy of it."""
        async with self._connection() as connection:
            await connection.execute(QUERIES.keep_key_records, [record.canonical()])
            await kit.publish(connection, KEYS_EVENTS.name, record_name(record), record.canonical())

    async def publish_all(self, records: list[AnyKeyEvent]) -> None:
        """Publish records in their order, in one transaction, and keep copies of them."""
        values = [record.canonical() for record in records]
        async with self._connection() as connection:
            await connection.execute(QUERIES.keep_key_records, values)
            await kit.publish_all(connection, KEYS_EVENTS.name, list(map(record_name, records)), values)

    async def keep_key_records(self, records: list[AnyKeyEvent]) -> None:
        """Keep copies of records that the topic has; those that are kept already stay as they are."""
        async with self._connection() as connection:
            await connection.execute(QUERIES.keep_key_records, [record.canonical() for record in records])

    async def key_records(self) -> list[AnyKeyEvent]:
        """Return the copies of records of accounts, keys and tokens, in the order in which they came."""
        async with self._connection() as connection:
            rows = await connection.fetch(QUERIES.all_key_records)
            return [KEY_EVENT.validate_json(row["record"]) for row in rows]

    async def _one(self, kind: type[Row], query: str, *values: Any) -> Row | None:
        async with self._connection() as connection:
            row = await connection.fetchrow(query, *values)
            return kind(**row) if row else None

    async def _many(self, kind: type[Row], query: str, *values: Any) -> list[Row]:
        async with self._connection() as connection:
            return [kind(**row) for row in await connection.fetch(query, *values)]

    @asynccontextmanager
    async def _connection(self, isolation: str = "read_committed") -> AsyncIterator[asyncpg.Connection]:
        try:
            async with self._pool.acquire(timeout=5) as connection, connection.transaction(isolation=isolation):
                yield connection
        except (*kit.AWAY, TimeoutError) as error:
            raise kit.DatabaseAway(str(error)) from error
