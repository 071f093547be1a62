"""Writes the command log and the events of an exchange to files that `engine replay` reads."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

from clients.cli.output import CommandError


async def write_log_files(kafka: str, keys_dir: Path, log: Path, events: Path | None) -> dict[str, object]:
    """Writes both topics up to the end that they have now; returns how many records each had. Raises CommandError."""
    from schemas.topics import COMMANDS, EVENTS

    written: dict[str, object] = {"commands": 0, "events": None}
    with log.open("w", encoding="utf-8") as lines:
        async for record in _records(kafka, keys_dir, COMMANDS.name):
            value = (record.value or b"").decode("utf-8", "surrogateescape")
            line = {"offset": record.offset, "ts_ms": record.timestamp, "value": value}
            lines.write(json.dumps(line, separators=(",", ":")) + "\n")
            written["commands"] += 1
    if events is not None:
        last_seq = 0
        with events.open("wb") as lines:
            async for record in _records(kafka, keys_dir, EVENTS.name):
                # A restarted engine may have repeated some; the first of each number counts.
                event = json.loads(record.value)
                if event["seq"] == last_seq + 1 and event["in_offset"] < written["commands"]:
                    last_seq += 1
                    lines.write(record.value + b"\n")
        written["events"] = last_seq
    return written


async def _records(kafka: str, keys_dir: Path, topic: str) -> AsyncIterator:
    from aiokafka import AIOKafkaConsumer, TopicPartition
    from aiokafka.errors import KafkaError

    from services.kit.kafka import operator_options

    partition = TopicPartition(topic, 0)
    consumer = AIOKafkaConsumer(**operator_options(kafka, keys_dir), enable_auto_commit=False)
    try:
        await consumer.start()
    except (KafkaError, OSError) as error:
        await consumer.stop()
        raise CommandError(f"Kafka does not answer at {kafka}") from error
    try:
        consumer.assign([partition])
        consumer.seek(partition, 0)
        end = (await consumer.end_offsets([partition]))[partition]
        while await consumer.position(partition) < end:
            for record in (await consumer.getmany(partition, timeout_ms=1_000)).get(partition, ()):
                if record.offset < end:
                    yield record
    finally:
        await consumer.stop()
