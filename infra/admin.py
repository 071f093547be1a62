"""The venue's administrator: signs batches of reference data and trading states, and waits for the decisions."""

import asyncio
import re
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaConnectionError
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from infra.kafka_clients import started
from schemas.events import EVENT, AnyEvent
from schemas.signing import batch_text
from schemas.topics import COMMANDS, EVENTS
from schemas.venue import VenueCommand
from services.kit.kafka import operator_options
from services.kit.keys import load_private_key, private_key_file

SOURCE = "admin"
OWN_RECORD = re.compile(rb'^\{"type":"privileged","source":"admin","number":(\d+),')
COMMANDS_PER_BATCH = 200
ANSWER_WITHIN_S = 30.0


class AdminError(RuntimeError):
    """An administrator's command could not be signed or sent, was refused, or was not answered in time."""


class NotAnswered(AdminError):
    """The engine did not answer in time; the commands may be carried out."""


async def send_commands(kafka: str, keys_dir: Path, commands: list[VenueCommand]) -> list[AnyEvent]:
    """Sends commands in signed batches and returns the engine's events. Raises AdminError for the first refusal."""
    key, options = read_key(keys_dir), operator_options(kafka, keys_dir)
    try:
        async with (
            started(AIOKafkaProducer(**options, enable_idempotence=True, acks="all")) as producer,
            started(AIOKafkaConsumer(**options, enable_auto_commit=False)) as consumer,
        ):
            sender = _Sender(key, producer, consumer)
            await sender.find_number()
            events = []
            for first in range(0, len(commands), COMMANDS_PER_BATCH):
                async with asyncio.timeout(ANSWER_WITHIN_S):
                    events += await sender.send(commands[first : first + COMMANDS_PER_BATCH])
            return events
    except KafkaConnectionError as error:
        raise AdminError(f"Kafka does not answer at {kafka}: is the exchange running?") from error
    except TimeoutError as error:
        raise NotAnswered(f"the engine did not answer within {ANSWER_WITHIN_S:.0f} s") from error


def read_key(keys_dir: Path) -> Ed25519PrivateKey:
    """The administrator's private key. Raises AdminError where the folder has none."""
    try:
        return load_private_key(keys_dir, SOURCE)
    except FileNotFoundError as error:
        path = private_key_file(keys_dir, SOURCE)
        raise AdminError(f"no administrator's key at {path}: was an exchange started in this data folder?") from error


class _Sender:
    """One run: numbers its batches after the last one in the log, which is where the truth about them is."""

    def __init__(self, key: Ed25519PrivateKey, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer):
        self._key, self._producer, self._consumer = key, producer, consumer
        self._number = 0

    async def find_number(self) -> None:
        """Reads the command log for the administrator's last number, and moves to the end of the events."""
        log, events = TopicPartition(COMMANDS.name, 0), TopicPartition(EVENTS.name, 0)
        self._consumer.assign([log])
        await self._consumer.seek_to_beginning(log)
        end = (await self._consumer.end_offsets([log]))[log]
        while await self._consumer.position(log) < end:
            for record in (await self._consumer.getmany(log, timeout_ms=500)).get(log, ()):
                if own := OWN_RECORD.match(record.value):
                    self._number = max(self._number, int(own[1]))
        self._consumer.assign([events])
        await self._consumer.seek_to_end(events)

    async def send(self, commands: list[VenueCommand]) -> list[AnyEvent]:
        """Sends one batch and returns its events. Raises AdminError."""
        self._number += 1
        text = "[" + ",".join(command.canonical().decode() for command in commands) + "]"
        signature = self._key.sign(batch_text(SOURCE, self._number, text.encode())).hex()
        record = (
            f'{{"type":"privileged","source":"{SOURCE}","number":{self._number},'
            f'"commands":{text},"signature":"{signature}"}}'
        )
        sent = await self._producer.send_and_wait(COMMANDS.name, record.encode(), partition=0)
        events = await self._events_of(sent.offset)
        for event in events:
            if event.type in ("record_rejected", "command_rejected"):
                raise AdminError(f"refused: {event.code}")
        return events

    async def _events_of(self, in_offset: int) -> list[AnyEvent]:
        events: list[AnyEvent] = []
        while not events or len(events) < events[0].count:
            record = await self._consumer.getone()
            event = EVENT.validate_json(record.value)
            if event.in_offset == in_offset and event.index == len(events):
                events.append(event)
        return events
