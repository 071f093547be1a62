"""Every named statement fits the migrated schema: PostgreSQL plans it before a service meets it."""

import asyncpg

from services.delivery.settings import Settings
from services.delivery.store import QUERIES, Store, open_pool, transaction


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


async def test_an_answer_to_a_challenge_does_not_wait_for_a_gate_that_waits_for_it(fresh_database: str, tmp_path):
    """A gate has the node and wants its idle challenges; an answer has the challenge, and writes it twice."""
    pool = await open_pool(Settings(database_url=fresh_database, data=tmp_path))
    node = ("node-1", "ops", "rack", "CNE", "H100SXM80", "ab", True, "boot-1", 1)
    challenge = ("ch-1", "node-1", "idle", None, 1, 2, b"asked", None)
    try:
        await Store(pool).run("insert_node", *node)
        await Store(pool).run("insert_challenge", *challenge)
        async with transaction(pool) as gate, transaction(pool) as answer:
            await answer.connection.execute("set local lock_timeout = 1000")
            assert await gate.row("lock_node", "node-1") is not None
            assert await answer.row("lock_challenge", "ch-1") is not None
            await answer.run("set_resident", "ch-1", b"digests", 5, 0)
            await answer.run("set_drawn", "ch-1", b"secret", b"opening", 9)
    finally:
        await pool.close()
