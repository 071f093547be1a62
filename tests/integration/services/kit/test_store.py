"""The shared store on a real PostgreSQL: migrations, the fencing cursor, dense batch numbers."""

import asyncio

import pytest

from schemas.venue import Credit
from services.kit import store
from services.kit.settings import Settings

CREDIT = Credit(transfer_id="t1", account="a", asset="CNY", amount_micros=1)


@pytest.fixture
async def pool(fresh_database):
    pool = await store.open_pool(Settings(database_url=fresh_database), "kit_test")
    yield pool
    await pool.close()


async def test_a_cursor_moves_only_from_where_its_reader_thinks_it_stands(pool):
    async with pool.acquire() as connection:
        start = await store.read_position(connection, "view", 0)
        first = store.Position(5, 9, b"l" * 32)
        await store.advance(connection, "view", 0, start, first)
        with pytest.raises(store.Fenced):
            await store.advance(connection, "view", 0, start, store.Position(6, 10, None))
        assert await store.read_position(connection, "view", 0) == first


async def test_effects_of_a_fenced_reader_are_rolled_back(pool):
    async with pool.acquire() as connection:
        start = await store.read_position(connection, "view", 0)
        await store.advance(connection, "view", 0, start, store.Position(5, 9, None))
        with pytest.raises(store.Fenced):
            async with connection.transaction():
                await store.enqueue(connection, CREDIT)
                await store.advance(connection, "view", 0, start, store.Position(5, 9, None))
    assert await store.unsent_batches(pool, 10) == []


async def test_batches_are_numbered_densely_also_when_transactions_overlap_or_fail(pool):
    async def enqueue(fail: bool) -> None:
        async with pool.acquire() as connection, connection.transaction():
            await store.enqueue(connection, CREDIT)
            if fail:
                raise ZeroDivisionError

    await asyncio.gather(*(enqueue(fail=number % 3 == 0) for number in range(12)), return_exceptions=True)
    assert [number for number, _ in await store.unsent_batches(pool, 100)] == list(range(1, 9))


async def test_a_sent_batch_is_not_offered_again(pool):
    async with pool.acquire() as connection:
        for _ in range(3):
            await store.enqueue(connection, CREDIT)
    await store.mark_sent(pool, [1, 3], 9)
    assert await store.unsent_batches(pool, 10) == [(2, f"[{CREDIT.canonical().decode()}]")]


async def test_opening_twice_migrates_once_and_an_edited_migration_is_refused(pool, fresh_database):
    settings = Settings(database_url=fresh_database)
    again = await store.open_pool(settings, "kit_test")
    await again.execute("update migration set sha256 = 'edited' where name like '0001%'")
    await again.close()
    with pytest.raises(store.MigrationEdited, match="0001"):
        await store.open_pool(settings, "kit_test")
