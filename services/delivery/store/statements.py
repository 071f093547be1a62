"""The named statements of `queries.sql` on one connection, and rows as their own types: asyncpg goes no further."""

from dataclasses import fields
from functools import cache
from typing import Any, TypeVar

import asyncpg

from services.kit.store import load_queries

QUERIES = load_queries("services.delivery")
COLUMNS = {"node": "node_id"}  # where a field has another name than its column
Row = TypeVar("Row")


class Statements:
    """Runs statements; each is named as in `queries.sql`."""

    def __init__(self, connection: asyncpg.Connection | asyncpg.Pool):
        self.connection = connection

    async def run(self, query: str, *args: object) -> None:
        """Runs a statement."""
        await self.connection.execute(getattr(QUERIES, query), *args)

    async def value(self, query: str, *args: object) -> Any:
        """Returns the first column of the first row, or None."""
        return await self.connection.fetchval(getattr(QUERIES, query), *args)

    async def row(self, query: str, *args: object) -> asyncpg.Record | None:
        """Returns the first row, or None."""
        return await self.connection.fetchrow(getattr(QUERIES, query), *args)

    async def rows(self, query: str, *args: object) -> list[asyncpg.Record]:
        """Returns all rows."""
        return await self.connection.fetch(getattr(QUERIES, query), *args)

    async def one(self, kind: type[Row], query: str, *args: object) -> Row | None:
        """Returns the first row as a dataclass, or None."""
        found = await self.row(query, *args)
        return None if found is None else read_row(kind, found)

    async def all(self, kind: type[Row], query: str, *args: object) -> list[Row]:
        """Returns all rows as dataclasses."""
        return [read_row(kind, each) for each in await self.rows(query, *args)]


def read_row(kind: type[Row], row: asyncpg.Record) -> Row:
    """Reads a row that has a column for each field of a dataclass; arrays become tuples."""
    return kind(**{name: _value(row[column]) for name, column in _columns(kind)})


@cache
def _columns(kind: type) -> tuple[tuple[str, str], ...]:
    return tuple((field.name, COLUMNS.get(field.name, field.name)) for field in fields(kind))


def _value(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value
