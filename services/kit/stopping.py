"""Ends clients of Kafka's within bounds, whatever becomes of them or of whoever ends them."""

import asyncio

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError

STOP_WITHIN_S = 5.0


async def stop_client(client: AIOKafkaConsumer | AIOKafkaProducer) -> None:
    """Stops a consumer or a producer; one that does not stop in time is left to itself, and the log says so.

    aiokafka's `stop` can block. Up to Python 3.11 `asyncio.wait_for` loses a cancellation that comes just when what it
    waits for is done, and waits without end for what does not let itself be cancelled; `asyncio.wait` does neither.
    """
    log = structlog.get_logger().bind(client=type(client).__name__)
    stopping = asyncio.ensure_future(client.stop())
    try:
        await asyncio.wait((stopping,), timeout=STOP_WITHIN_S)
    finally:
        in_time = stopping.done()
        if not in_time:
            stopping.cancel()
    if not in_time:
        log.warning("Kafka client did not stop in time", seconds=STOP_WITHIN_S)
        return
    try:
        stopping.result()
    except (KafkaError, OSError) as error:
        log.warning("Kafka client did not stop cleanly", error=repr(error))
