"""The event log as a reader sees it, and any topic from its first record."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.events import EVENT, Event
from schemas.topics import EVENTS, Topic

Kind = TypeVar("Kind", bound=Event)


@dataclass
class EventLog:
    """Each sequence once; what a restarted engine wrote again must be the same bytes."""

    events: list[Any] = field(default_factory=list)
    repeated: int = 0
    faults: list[str] = field(default_factory=list)

    @classmethod
    async def read(cls, kafka: dict[str, Any]) -> "EventLog":
        """Reads the whole log."""
        log = cls()
        log.take(await read_topic(kafka, EVENTS))
        return log

    def take(self, raws: Iterable[bytes]) -> None:
        """Takes records in order."""
        first: dict[int, bytes] = {}
        for raw in raws:
            event = EVENT.validate_json(raw)
            if event.seq in first:
                self.repeated += 1
                if first[event.seq] != raw:
                    self.faults.append(f"seq {event.seq} was written twice, with different bytes")
                continue
            if event.seq != len(self.events) + 1:
                self.faults.append(f"seq {event.seq} after {len(self.events)}")
            first[event.seq] = raw
            self.events.append(event)

    def of(self, kind: type[Kind]) -> list[Kind]:
        """Returns the events of a kind, in order."""
        return [event for event in self.events if isinstance(event, kind)]


async def read_topic(kafka: dict[str, Any], topic: Topic) -> list[bytes]:
    """Returns every record of a topic, partition after partition."""
    consumer = AIOKafkaConsumer(**kafka, enable_auto_commit=False)
    await consumer.start()
    try:
        partitions = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        values: dict[TopicPartition, list[bytes]] = {each: [] for each in partitions}
        async with asyncio.timeout(60):
            while any([await consumer.position(each) < ends[each] for each in partitions]):
                for partition, records in (await consumer.getmany(timeout_ms=500)).items():
                    values[partition] += [record.value for record in records]
        return [value for each in partitions for value in values[each]]
    finally:
        await consumer.stop()
