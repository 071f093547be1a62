"""Follows `keys.events` from its start, so that every edge knows the API keys without asking the gateway."""

import asyncio

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from pydantic import ValidationError

from schemas.accounts import KEY_EVENT, ROOT, AnyKeyEvent
from schemas.topics import KEYS_EVENTS
from services.kit.kafka import kafka_client_options
from services.kit.key_directory import KeyDirectory
from services.kit.keys import load_public_key
from services.kit.reading import start_reading
from services.kit.settings import Settings
from services.kit.stopping import stop_client

STALLED_AFTER_S = 5.0
IDLE_MS = 1_000  # how long the reader sleeps when nothing comes; what comes wakes it at once


async def follow_keys(
    settings: Settings, directory: KeyDirectory, caught_up: asyncio.Event, read: list[AnyKeyEvent] | None = None
) -> None:
    """Feeds the directory for ever; sets `caught_up` when the end of the topic was reached once, and no sooner than
    requests are accepted (services.kit.auth). `read` is given what was proven until then.

    After an interruption it goes on where it was: reading again from the start would revive revoked keys for a moment.
    """
    directory.trust(load_public_key(settings.keys_dir, ROOT))
    partition, next_offset = TopicPartition(KEYS_EVENTS.name, 0), 0
    loop, log = asyncio.get_running_loop(), structlog.get_logger()
    opens_at = loop.time() + settings.signature_ahead_ms / 1_000
    while True:
        consumer = AIOKafkaConsumer(**kafka_client_options(settings), enable_auto_commit=False)
        try:
            await start_reading(consumer, KEYS_EVENTS.name)
            consumer.assign([partition])
            consumer.seek(partition, next_offset)
            end = (await consumer.end_offsets([partition]))[partition]
            moved_at = loop.time()
            # aiokafka can hang after a broker restart, so silence is checked against the topic's end.
            while end <= next_offset or loop.time() - moved_at < STALLED_AFTER_S:
                if await consumer.position(partition) >= end and loop.time() >= opens_at:
                    caught_up.set()
                wait_ms = IDLE_MS if caught_up.is_set() else 50
                for record in (await consumer.getmany(partition, timeout_ms=wait_ms)).get(partition, ()):
                    event = _take(directory, record.value)
                    if event is not None and read is not None and not caught_up.is_set():
                        read.append(event)
                    next_offset, moved_at = record.offset + 1, loop.time()
                if loop.time() - moved_at >= STALLED_AFTER_S and end <= next_offset:
                    end, moved_at = (await consumer.end_offsets([partition]))[partition], loop.time()
            log.warning("reader of keys hangs, connecting again", next_offset=next_offset, end=end)
        except (KafkaError, OSError) as error:
            log.warning("waiting for Kafka", topic=KEYS_EVENTS.name, error=str(error))
            await asyncio.sleep(settings.reconnect_delay_s)
        finally:
            await stop_client(consumer)


def _take(directory: KeyDirectory, value: bytes) -> AnyKeyEvent | None:
    """Lets the directory take a record; returns it if it is proven."""
    try:
        event = KEY_EVENT.validate_json(value)
    except ValidationError as error:
        structlog.get_logger().warning("unreadable key record ignored", why=str(error.errors()[0]["msg"]))
        return None
    return event if directory.take(event) else None
