"""The floor of `kafka_to_kafka`: matching's own Kafka client, which writes back what it reads and does nothing else."""

import asyncio
import sys

import uvloop

from schemas.topics import COMMANDS
from services.kit.logs import configure_logs
from services.matching.event_writer import EventWriter
from services.matching.kafka import LogReader
from services.matching.settings import MatchingSettings


async def echo(topic: str, first_offset: int, end_offset: int) -> None:
    """Copies the command log's records in [first_offset, end_offset) to a topic."""
    settings = MatchingSettings()
    reader, writer = LogReader(settings, COMMANDS.name), EventWriter(settings, topic, 0)
    await reader.open()
    reader.seek(first_offset)
    sending = asyncio.create_task(writer.run())
    while reader.next_offset < end_offset:
        await writer.write([record.value for record in await reader.fetch()])
    await writer.flush()
    sending.cancel()
    await asyncio.wait([sending])
    await reader.close()


if __name__ == "__main__":
    configure_logs("echo")
    uvloop.run(echo(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
