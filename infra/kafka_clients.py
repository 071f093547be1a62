"""Clients of Kafka's that live no longer than a block."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

Client = TypeVar("Client", AIOKafkaProducer, AIOKafkaConsumer)


@asynccontextmanager
async def started(client: Client) -> AsyncIterator[Client]:
    """A client that runs within the block; it is stopped also where it could not start."""
    try:
        await client.start()
        yield client
    finally:
        await client.stop()
