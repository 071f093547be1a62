"""Where a database's cursor stands in a real event log: shorter, grown again, written twice, or another one."""

import asyncio
from hashlib import sha256

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from pydantic import TypeAdapter

from schemas.topics import DELIVERY_EVENTS, EVENTS
from services.kit import store
from services.kit.events import EventBatch
from services.kit.groups import take_again
from services.kit.places import ForeignLog, LogLost, find_place, follow_from
from services.kit.settings import Settings
from services.kit.store import Position
from services.kit.topics import make_broker, run_broker, subscribe_batches
from tests.integration.services.kit.test_event_log import event, produce


def digest_of(seq: int) -> bytes:
    return sha256(event(seq).canonical()).digest()


async def test_a_cursor_is_found_whatever_was_written_twice_and_waits_for_a_log_that_grows(own_kafka):
    settings = Settings(kafka=own_kafka.address, event_log_grows_within_s=10)
    assert await find_place(settings, Position(0, 0, None)) == 0
    await produce(own_kafka.address, EVENTS.name, *(event(seq).canonical() for seq in (1, 2, 1, 2, 3)))
    places = [await find_place(settings, Position(seq, 9, digest_of(seq))) for seq in (1, 2, 3)]
    assert places == [1, 2, 5]
    waiting = asyncio.create_task(find_place(settings, Position(4, 4, digest_of(4))))
    await asyncio.sleep(1)
    assert not waiting.done()
    await produce(own_kafka.address, EVENTS.name, event(4).canonical())
    assert await waiting == 6


async def test_a_log_that_stays_too_short_and_one_with_another_event_of_that_number_are_refused(own_kafka):
    settings = Settings(kafka=own_kafka.address, event_log_grows_within_s=0.5)
    await produce(own_kafka.address, EVENTS.name, *(event(seq).canonical() for seq in (1, 2)))
    with pytest.raises(LogLost, match=r"^the event log ends at record 2, the database has event 3 of it$"):
        await find_place(settings, Position(3, 3, digest_of(3)))
    other = event(2).model_copy(update={"ts_ms": event(2).ts_ms + 1})  # the same chain before it
    with pytest.raises(ForeignLog, match=r"^event 2 is not the one that the database has of that number$"):
        await find_place(settings, Position(2, 2, sha256(other.canonical()).digest()))
    assert await find_place(settings, Position(2, 2, None)) == 2


async def test_a_follower_whose_database_was_away_goes_on_from_its_cursor_and_takes_each_event_once(
    own_kafka, fresh_database, tmp_path
):
    away = {"reconnect_delay_s": 0.05, "data": tmp_path}
    settings = Settings(kafka=own_kafka.address, database_url=fresh_database, **away)
    await produce(own_kafka.address, EVENTS.name, *(event(seq).canonical() for seq in (1, 2, 3, 4)))
    pool, caught_up = await store.open_pool(settings, "reader"), asyncio.Event()
    troubles = ["before the commit", "after a commit whose end was not seen"]
    tried: list[tuple[int, int]] = []
    taken: list[int] = []

    async def read_cursor() -> Position:
        async with pool.acquire() as connection:
            return await store.read_position(connection, "reader", settings.shard)

    async def handle(position: Position, batch: EventBatch) -> None:
        tried.append((position.seq, batch.last_seq))
        trouble = troubles.pop(0) if troubles else ""
        async with pool.acquire() as connection, connection.transaction():
            await store.advance(connection, "reader", settings.shard, position, batch.position)
            if trouble.startswith("before"):
                raise store.DatabaseAway(trouble)
        taken.extend(each.seq for each in batch.events)
        if trouble:
            raise store.DatabaseAway(trouble)

    following = asyncio.create_task(follow_from(settings, read_cursor, handle, caught_up.set, records_max=2))
    async with asyncio.timeout(20):
        await caught_up.wait()
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    assert (tried, taken) == ([(0, 2), (0, 2), (2, 4)], [1, 2, 3, 4])
    await pool.close()


async def test_a_foreign_record_is_passed_over_and_an_older_database_is_handed_what_it_lacks(
    own_kafka, fresh_database, tmp_path
):
    settings = Settings(kafka=own_kafka.address, database_url=fresh_database, data=tmp_path)
    pool, model = await store.open_pool(settings, "reader"), TypeAdapter(int)
    taken: list[int] = []
    done = asyncio.Event()

    async def take(numbers: list[int], ends: dict[int, int]) -> None:
        taken.extend(numbers)
        async with pool.acquire() as connection:
            await store.note_taken(connection, DELIVERY_EVENTS.name, ends)
        if taken and taken[-1] == 3:
            done.set()

    await produce(own_kafka.address, DELIVERY_EVENTS.name, b"1", b"{", b"2", b"3")
    broker = make_broker(settings)
    subscribe_batches(broker, DELIVERY_EVENTS, "reader", model, take, with_ends=True)
    running = asyncio.create_task(run_broker(broker))
    await asyncio.wait_for(done.wait(), 30)
    await _committed(settings, 4)
    assert (taken, await store.taken(pool, DELIVERY_EVENTS.name)) == ([1, 2, 3], {0: 4})
    async with pool.acquire() as connection:
        await store.note_taken(connection, DELIVERY_EVENTS.name, {0: 1})  # as an older copy has it
    taken.clear()
    await take_again(settings, pool, DELIVERY_EVENTS, "reader", model, take)
    assert (taken, await store.taken(pool, DELIVERY_EVENTS.name)) == ([2, 3], {0: 4})
    taken.clear()
    await take_again(settings, pool, DELIVERY_EVENTS, "reader", model, take)
    assert taken == []
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await pool.close()


async def _committed(settings: Settings, offset: int) -> None:
    """Waits until the group stands at an offset."""
    partition = TopicPartition(DELIVERY_EVENTS.name, 0)
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka, group_id=f"reader.{DELIVERY_EVENTS.name}")
    await consumer.start()
    try:
        consumer.assign([partition])
        async with asyncio.timeout(20):
            while await consumer.committed(partition) != offset:
                await asyncio.sleep(0.1)
    finally:
        await consumer.stop()
