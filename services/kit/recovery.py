"""Finds out at a service's start which of its batches the command log has, so that an outbox that was lost, or that
comes from an older backup, goes on behind the engine's last number and sends again only what was never applied.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.signing import batch_text
from schemas.topics import COMMANDS, EVENTS
from schemas.venue import Source
from services.kit.keys import signature_holds
from services.kit.reading import with_consumer
from services.kit.settings import Settings

FETCH_BYTES_MAX = 4_194_304
LOGS, WAITING = (COMMANDS.name, EVENTS.name), "waiting for Kafka"


@dataclass(frozen=True)
class Logged:
    """The batches of a source that the engine took, by number, and where both logs ended when they were read."""

    batches: Mapping[int, str]
    commands_end: int
    events_end: int


@dataclass(frozen=True)
class Row:
    """A batch in the outbox."""

    number: int
    commands: str


@dataclass
class Plan:
    """What to do with an outbox: `known` are in the log as they are; `moved` says old number → new for batches that
    stand under another number (`again` of them never reached the engine); `lost` are in the log alone.
    """

    known: list[int] = field(default_factory=list)
    again: list[int] = field(default_factory=list)
    moved: dict[int, int] = field(default_factory=dict)
    lost: dict[int, str] = field(default_factory=dict)


class OwnRecords:
    """Picks one source's batches out of the command log by the engine's own rule: signed by it, numbered densely."""

    def __init__(self, source: Source, public_key: str) -> None:
        head = rf'\{{"type":"privileged","source":"{source}","number":(\d+),"commands":'
        self._record = re.compile(head.encode() + rb'(\[.*\]),"signature":"([0-9a-f]{128})"\}', re.DOTALL)
        self._head = f'{{"type":"privileged","source":"{source}",'.encode()
        self._source, self._public_key = source, public_key
        self._last: int | None = None
        self.batches: dict[int, str] = {}

    def take(self, value: bytes) -> None:
        """Looks at one record of the log."""
        if not value.startswith(self._head) or not (own := self._record.fullmatch(value)):
            return
        number, commands = int(own[1]), own[2]
        # The first one sets the base: a key that was changed since does not fit the batches before.
        follows = self._last is None or number == self._last + 1
        text = batch_text(self._source, number, commands)
        if follows and signature_holds(self._public_key, own[3].decode(), text):
            self._last = number
            self.batches[number] = commands.decode()


async def read_log(settings: Settings, source: Source, public_key: str, first_offset: int) -> Logged:
    """Reads the command log from an offset to its end, waiting for Kafka as long as it is away."""

    async def read(consumer: AIOKafkaConsumer) -> Logged:
        return await _read(consumer, OwnRecords(source, public_key), first_offset)

    return await with_consumer(settings, LOGS, read, WAITING, max_partition_fetch_bytes=FETCH_BYTES_MAX)


async def log_end(settings: Settings) -> int:
    """Returns the offset after the command log's last record."""
    log = TopicPartition(COMMANDS.name, 0)

    async def ask(consumer: AIOKafkaConsumer) -> int:
        return (await consumer.end_offsets([log]))[log]

    return await with_consumer(settings, LOGS, ask, WAITING, max_partition_fetch_bytes=FETCH_BYTES_MAX)


async def _read(consumer: AIOKafkaConsumer, own: OwnRecords, first_offset: int) -> Logged:
    log, events = TopicPartition(COMMANDS.name, 0), TopicPartition(EVENTS.name, 0)
    ends = await consumer.end_offsets([log, events])
    consumer.assign([log])
    position = min(first_offset, ends[log])
    consumer.seek(log, position)
    while position < ends[log]:
        for record in (await consumer.getmany(log, timeout_ms=500, max_records=5_000)).get(log, ()):
            own.take(record.value)
            position = record.offset + 1
    return Logged(own.batches, ends[log], ends[events])


def plan(rows: Iterable[Row], logged: Mapping[int, str]) -> Plan:
    """Compares the outbox with what the log has of it. `rows` are those from the log's first number on, in order."""
    made = Plan(lost=dict(logged))
    others = []
    for row in rows:
        if made.lost.get(row.number) == row.commands:
            made.known.append(row.number)
            del made.lost[row.number]
        else:
            others.append(row)
    by_commands = {commands: number for number, commands in reversed(made.lost.items())}
    free = max(logged, default=0) + 1
    for row in others:
        found = by_commands.pop(row.commands, None)
        if found is None:
            made.again.append(row.number)
            found, free = free, free + 1
        else:
            del made.lost[found]
        if found != row.number:
            made.moved[row.number] = found
    return made
