"""The shared store on a real PostgreSQL: migrations, the fencing cursor, dense batch numbers."""

import asyncio

import pytest

from schemas.answers import FirstAnswer
from schemas.venue import Credit
from services.kit import idempotency, store
from services.kit.idempotency import keep
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


async def answers_kept(pool: store.Pool) -> list[str]:
    return [row["key"] for row in await pool.fetch("select key from first_answer order by key")]


async def keep_answers(pool: store.Pool, **kept_days: int) -> None:
    """Keeps a first answer under each name, as if it had been kept for so many days."""
    for name, days in kept_days.items():
        await keep(pool, FirstAnswer(account="alice", key=name, request="r", status=200, answer="{}"))
        await pool.execute(
            "update first_answer set kept_at = now() - make_interval(days => $2, mins => 1) where key = $1", name, days
        )


async def test_first_answers_that_are_old_enough_go_the_oldest_first_and_no_others(pool):
    await keep_answers(pool, a=0, b=29, c=89, d=90, e=91, f=400)
    assert await store.forget_first_answers(pool, 90, 2) == 2
    assert await answers_kept(pool) == ["a", "b", "c", "d"]
    assert [await store.forget_first_answers(pool, 90, 2) for _ in range(2)] == [1, 0]
    assert await answers_kept(pool) == ["a", "b", "c"]


async def test_old_first_answers_go_in_small_turns_while_the_service_runs(pool, monkeypatch):
    monkeypatch.setattr(idempotency, "ANSWERS_PER_TURN", 2)
    await keep_answers(pool, young=1, **{f"old-{place}": 90 + place for place in range(5)})
    settings = Settings(reconnect_delay_s=0.01)
    forgetting = asyncio.create_task(idempotency.forget_old(settings, pool, pause_s=60))
    async with asyncio.timeout(10):
        while await answers_kept(pool) != ["young"]:
            await asyncio.sleep(0.01)
    forgetting.cancel()


def test_no_setting_forgets_a_first_answer_sooner_than_the_protocols_promise():
    with pytest.raises(ValueError, match="first_answers_days"):
        Settings(first_answers_days=30)
