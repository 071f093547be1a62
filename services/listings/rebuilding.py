"""Listings, steps and first answers again from `listings.records`, where PostgreSQL was lost or is an older one."""

from collections.abc import AsyncIterator
from functools import partial

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from pydantic import ValidationError

from schemas.listings import LISTINGS_RECORD, ListingRecorded, ListingRequestAnswered
from schemas.topics import LISTINGS_RECORDS
from services.kit.idempotency import restore
from services.kit.ranges import read_range
from services.kit.reading import with_consumer
from services.kit.settings import Settings
from services.kit.store import AWAY, Pool
from services.kit.topics import FOREIGN_RECORD
from services.listings.store import transaction

PARTITION = TopicPartition(LISTINGS_RECORDS.name, 0)
RECORDS_PER_TURN = 500
Record = ListingRecorded | ListingRequestAnswered


async def rebuild(settings: Settings, pool: Pool) -> None:
    """Takes again what the topic has and the tables do not, waiting for Kafka and PostgreSQL while they are away."""
    await with_consumer(settings, [PARTITION.topic], partial(_rebuild, pool), "rebuilding waits", AWAY)


async def _rebuild(pool: Pool, consumer: AIOKafkaConsumer) -> None:
    consumer.assign([PARTITION])
    end = (await consumer.end_offsets([PARTITION]))[PARTITION]
    async with transaction(pool) as store:
        known = await store.last_record()
        if end == 0:
            await store.record_old()
            return
    # One record may have been sent twice, out of order.
    newest = [
        record.seq
        async for batch in _batches(consumer, max(0, end - RECORDS_PER_TURN), end)
        for record in batch
        if isinstance(record, ListingRecorded)
    ]
    if max(newest, default=0) <= known:
        return
    structlog.get_logger().warning("listings are taken again from the topic", behind_seq=known)
    last_change, heard_ms = 0, 0
    async for batch in _batches(consumer, 0, end):
        async with transaction(pool) as store:
            for record in batch:
                if isinstance(record, ListingRequestAnswered):
                    await restore(store.connection, record.first)
                    continue
                await store.put_again(record)
                last_change = max(last_change, record.change_seq or 0)
                heard_ms = max(heard_ms, record.listing.changed_ms)
    async with transaction(pool) as store:
        await store.move_sequences(max(newest), last_change)
        _, back_ms = await store.alive_mark()
        # The venue was there then: what lies behind is its outage, in which no deadline runs.
        await store.set_alive_mark(heard_ms, back_ms)


async def _batches(consumer: AIOKafkaConsumer, start: int, end: int) -> AsyncIterator[list[Record]]:
    async for records, _ in read_range(consumer, PARTITION, start, end, RECORDS_PER_TURN):
        yield [found for record in records if (found := _record_of(record)) is not None]


def _record_of(record: ConsumerRecord) -> Record | None:
    try:
        return LISTINGS_RECORD.validate_json(record.value)
    except ValidationError:
        log = structlog.get_logger()
        log.error("a foreign record is skipped", topic=PARTITION.topic, offset=record.offset, see=FOREIGN_RECORD)
        return None
