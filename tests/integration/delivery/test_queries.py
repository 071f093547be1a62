"""Every named statement fits the migrated schema: PostgreSQL plans it before a service meets it."""

import asyncpg

from services.delivery.settings import Settings
from services.delivery.store import QUERIES, open_pool


async def test_postgresql_understands_every_statement_of_delivery(fresh_database: str, tmp_path):
    settings = Settings(database_url=fresh_database, data=tmp_path)
    pool = await open_pool(settings)
    refused = {}
    try:
        async with pool.acquire() as connection:
            for name, text in vars(QUERIES).items():
                try:
                    await connection.prepare(text)
                except asyncpg.PostgresError as error:
                    refused[name] = str(error)
    finally:
        await pool.close()
    assert refused == {}
