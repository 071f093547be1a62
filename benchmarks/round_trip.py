"""The floor of an order's latency: produce, consume, produce, consume, over topics set up like the exchange's own."""

import asyncio
import multiprocessing
import statistics
import time
from typing import Any

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from infra.topics import create_topics
from schemas.topics import COMMANDS, EVENTS

PREFIX = "bench."
PAYLOAD = b"x" * 250
WARM_UP = 50


async def _producer(kafka: dict[str, Any]) -> AIOKafkaProducer:
    producer = AIOKafkaProducer(**kafka, enable_idempotence=True, acks="all", linger_ms=0)
    await producer.start()
    return producer


async def _consumer(kafka: dict[str, Any], topic: str) -> AIOKafkaConsumer:
    consumer = AIOKafkaConsumer(**kafka, enable_auto_commit=False)
    await consumer.start()
    consumer.assign([TopicPartition(topic, 0)])
    await consumer.seek_to_end()
    return consumer


async def _echo(kafka: dict[str, Any], ready) -> None:
    consumer, producer = await _consumer(kafka, PREFIX + COMMANDS.name), await _producer(kafka)
    ready.set()
    async for record in consumer:
        await producer.send(PREFIX + EVENTS.name, record.value)


def _run_echo(kafka: dict[str, Any], ready) -> None:
    uvloop.run(_echo(kafka, ready))


async def measure_round_trip(kafka: dict[str, Any], rounds: int) -> dict[str, float]:
    """Returns the median and the 99th percentile of a double round trip in milliseconds; the echo is a process."""
    await create_topics(kafka["bootstrap_servers"], (COMMANDS, EVENTS), PREFIX, **kafka)
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    echo = context.Process(target=_run_echo, args=(kafka, ready), daemon=True)
    echo.start()
    await asyncio.to_thread(ready.wait, 30)
    consumer, producer = await _consumer(kafka, PREFIX + EVENTS.name), await _producer(kafka)
    try:
        taken_ms = []
        for _ in range(WARM_UP + rounds):
            began_ns = time.perf_counter_ns()
            await producer.send(PREFIX + COMMANDS.name, PAYLOAD)
            await asyncio.wait_for(consumer.getone(), 10)
            taken_ms.append((time.perf_counter_ns() - began_ns) / 1e6)
        return percentiles(taken_ms[WARM_UP:])
    finally:
        echo.terminate()
        await producer.stop()
        await consumer.stop()


def percentiles(taken_ms: list[float]) -> dict[str, float]:
    """Returns p50 and p99 in milliseconds."""
    cuts = statistics.quantiles(taken_ms, n=100)
    return {"p50_ms": round(cuts[49], 3), "p99_ms": round(cuts[98], 3)}
