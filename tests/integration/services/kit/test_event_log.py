"""Readers and relays on a real broker: in sequence, each once; holes and broken records stop a reader loudly."""

import asyncio

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from clients.http import new_credentials
from infra.keys import make_keys, public_key
from schemas.commands import read_command
from schemas.events import EpochStarted
from schemas.signing import batch_text
from schemas.topics import COMMANDS, EVENTS, KEYS_EVENTS
from schemas.venue import Credit
from services.kit import store
from services.kit.events import BrokenEvent, EventReader, SequenceGap
from services.kit.key_directory import KeyDirectory
from services.kit.key_feed import follow_keys
from services.kit.keys import signature_holds
from services.kit.outbox import Outbox
from services.kit.settings import Settings
from tests.fixtures.keys import ended_key, new_key, root_of


def event(seq: int) -> EpochStarted:
    return EpochStarted(shard=0, seq=seq, in_offset=seq, index=0, count=1, ts_ms=0, prev_link="0" * 64, epoch=1)


async def produce(bootstrap: str, topic: str, *values: bytes) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    for value in values:
        await producer.send_and_wait(topic, value)
    await producer.stop()


async def read_until(reader: EventReader, seq: int) -> list[int]:
    seen = []
    async with asyncio.timeout(20):
        async for batch in reader.batches():
            seen += [each.seq for each in batch.events]
            if batch.last_seq >= seq:
                return seen


async def test_a_reader_hands_out_each_sequence_once_though_a_restarted_engine_wrote_it_twice(own_kafka):
    values = [event(seq).canonical() for seq in (1, 2, 3, 2, 3, 4)]
    await produce(own_kafka.address, EVENTS.name, *values)
    reader = EventReader(Settings(kafka=own_kafka.address))
    assert await read_until(reader, 4) == [1, 2, 3, 4]


async def test_a_reader_has_caught_up_when_the_effects_of_what_was_there_are_done(own_kafka):
    await produce(own_kafka.address, EVENTS.name, event(1).canonical())
    reader = EventReader(Settings(kafka=own_kafka.address))
    batches = reader.batches()
    await anext(batches)
    assert not reader.caught_up.is_set()
    waiting = asyncio.create_task(anext(batches))
    async with asyncio.timeout(10):
        await reader.caught_up.wait()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


async def test_a_reader_goes_on_where_its_cursor_stands(own_kafka):
    await produce(own_kafka.address, EVENTS.name, *(event(seq).canonical() for seq in (1, 2, 3, 4)))
    assert await read_until(EventReader(Settings(kafka=own_kafka.address), offset=2, seq=2), 4) == [3, 4]


async def test_a_hole_in_the_sequence_stops_the_reader(own_kafka):
    await produce(own_kafka.address, EVENTS.name, event(1).canonical(), event(3).canonical())
    with pytest.raises(SequenceGap, match="seq 3 after 1"):
        await read_until(EventReader(Settings(kafka=own_kafka.address)), 3)


async def test_a_broken_record_stops_the_reader(own_kafka):
    await produce(own_kafka.address, EVENTS.name, b"{")
    with pytest.raises(BrokenEvent, match="offset 0"):
        await read_until(EventReader(Settings(kafka=own_kafka.address)), 1)


async def test_a_reader_goes_on_after_the_broker_was_killed(own_kafka):
    await produce(own_kafka.address, EVENTS.name, event(1).canonical())
    reader = EventReader(Settings(kafka=own_kafka.address))
    batches = reader.batches()
    assert (await anext(batches)).last_seq == 1
    await asyncio.to_thread(own_kafka.kill)
    await asyncio.to_thread(own_kafka.start)
    await produce(own_kafka.address, EVENTS.name, event(2).canonical())
    async with asyncio.timeout(30):
        assert (await anext(batches)).last_seq == 2


async def test_the_outbox_sends_signed_canonical_batches_in_number_order(own_kafka, fresh_database, tmp_path):
    make_keys(tmp_path / "keys")
    settings = Settings(kafka=own_kafka.address, database_url=fresh_database, data=tmp_path)
    pool = await store.open_pool(settings, "kit_test")
    async with pool.acquire() as connection:
        for number in range(1, 4):
            credit = Credit(transfer_id=f"t{number}", account="a", asset="CNY", amount_micros=number)
            await store.enqueue(connection, credit)
    relay = asyncio.create_task(Outbox(settings, pool, "ledger").run())
    commands = [read_command(raw) for raw in await consume(own_kafka.address, COMMANDS.name, 3)]
    relay.cancel()
    await asyncio.gather(relay, return_exceptions=True)
    assert [(each.number, each.commands[0].amount_micros) for each in commands] == [(1, 1), (2, 2), (3, 3)]
    text = batch_text("ledger", 1, store.commands_json(commands[0].commands).encode())
    assert signature_holds(public_key(tmp_path / "keys" / "ledger" / "ledger.ed25519"), commands[0].signature, text)
    await pool.close()


async def consume(bootstrap: str, topic: str, records: int) -> list[bytes]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await consumer.start()
    consumer.assign([TopicPartition(topic, 0)])
    consumer.seek(TopicPartition(topic, 0), 0)
    async with asyncio.timeout(20):
        values = [(await consumer.getone()).value for _ in range(records)]
    await consumer.stop()
    return values


async def test_an_edge_knows_the_keys_that_are_proven_and_passes_over_all_other_records(own_kafka, tmp_path):
    make_keys(tmp_path / "keys")
    root, alice, thief = root_of(tmp_path / "keys"), new_credentials("k1"), new_credentials("k1")
    key = new_key(root, "alice", alice, "read")
    unsigned = new_key(thief, "venue-admin", new_credentials("minted"), "admin").model_copy(update={"proof": None})
    stolen = new_key(thief, "alice", thief, "trade")
    records = [each.canonical() for each in (unsigned, key, stolen, ended_key(root, key), key)]
    await produce(own_kafka.address, KEYS_EVENTS.name, records[0], b"garbage", b"{}", *records[1:])
    directory, caught_up = KeyDirectory(), asyncio.Event()
    settings = Settings(kafka=own_kafka.address, data=tmp_path)
    follower = asyncio.create_task(follow_keys(settings, directory, caught_up))
    async with asyncio.timeout(20):
        await caught_up.wait()
    follower.cancel()
    await asyncio.gather(follower, return_exceptions=True)
    assert directory.get("k1") == key.model_copy(update={"revoked": True, "proof": None})
    assert directory.get("minted") is None
