"""The embedded PostgreSQL server: what we rely on, seen on the real thing."""

import asyncpg
import pytest


async def test_a_fresh_database_is_empty_and_takes_tables(fresh_database):
    connection = await asyncpg.connect(fresh_database)
    assert await connection.fetch("select tablename from pg_tables where schemaname = 'public'") == []
    await connection.execute("create table account (id bigint primary key)")
    assert await connection.fetchval("select count(*) from account") == 0
    await connection.close()


async def test_what_was_committed_is_there_after_the_server_was_killed(own_postgres):
    connection = await asyncpg.connect(own_postgres.address)
    await connection.execute("create table kept as select 7 as number")
    connection.terminate()
    own_postgres.kill()
    own_postgres.start()
    connection = await asyncpg.connect(own_postgres.address)
    assert await connection.fetchval("select number from kept") == 7
    await connection.close()


async def test_a_login_without_the_password_is_refused(own_postgres):
    address = own_postgres.address.rpartition("@")[2]
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(f"postgresql://hourbook:wrong@{address}")
