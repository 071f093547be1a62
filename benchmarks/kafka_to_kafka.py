"""The matching process from Kafka to Kafka through the real topics, beside its own client echoing the same records."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import mean

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from benchmarks.machine import describe_machine
from benchmarks.order_flow import OrderFlow
from infra.embedded import start_kafka
from infra.places import REPOSITORY
from infra.plan import is_ready
from infra.ports import free_port
from infra.topics import create_topics
from matching_engine import ENGINE_NAME
from schemas.topics import COMMANDS, EVENTS, TOPICS, Topic
from services.matching.domain import header_of

ECHOES = tuple(Topic(f"bench.echo.{n}", key="none", model="bytes", partitions=1) for n in (1, 2))
WARM_UP = 0.1
TARGET_PER_S, TARGET_RATIO = 120_000, 0.35
TIMEOUT_S = 300


class BenchmarkFailed(RuntimeError):
    """A process of the benchmark ended or did not finish."""


def measure(count: int) -> dict[str, object]:
    """Runs echo, matching and echo again over one log of `count` commands; rates leave the first tenth out."""
    with tempfile.TemporaryDirectory(prefix="hourbook-bench-") as folder:
        work = Path(folder)
        server = start_kafka(work)
        try:
            return asyncio.run(_measure(server.address, work, count))
        finally:
            server.stop()


async def _measure(kafka: str, work: Path, count: int) -> dict[str, object]:
    await create_topics(kafka, (*TOPICS, *ECHOES))
    flow = OrderFlow(work / "keys")
    first = await produce(kafka, flow.opening())
    end = first + await produce(kafka, flow.flow(count))
    measured_from = first + int(count * WARM_UP)
    echoes = [await _echo_per_s(kafka, work, ECHOES[0].name, first, end)]
    matched = await _matched(kafka, work, measured_from, end)
    echoes.append(await _echo_per_s(kafka, work, ECHOES[1].name, first, end))
    echo_per_s = mean(echoes)
    return {
        "machine": describe_machine(),
        "engine": ENGINE_NAME,
        "commands": count,
        **matched,
        "echo_per_s": round(echo_per_s),
        "echo_rounds_per_s": [round(each) for each in echoes],
        "ratio": round(matched["commands_per_s"] / echo_per_s, 3),
        "targets": {"commands_per_s": TARGET_PER_S, "ratio": TARGET_RATIO},
    }


async def _echo_per_s(kafka: str, work: Path, topic: str, first: int, end: int) -> float:
    with process(kafka, work, "benchmarks.echo", topic, str(first), str(end)) as child:
        if await asyncio.to_thread(child.wait, TIMEOUT_S):
            raise BenchmarkFailed("the echo failed")
    times_ms = [ts_ms async for ts_ms, _ in records_of(kafka, topic)]
    measured = times_ms[int(len(times_ms) * WARM_UP) :]
    return (len(measured) - 1) * 1000 / (measured[-1] - measured[0])


async def _matched(kafka: str, work: Path, first: int, end: int) -> dict[str, int]:
    port = free_port()
    with process(kafka, work, "services.matching", HOURBOOK_MATCHING_PORT=str(port)) as child:
        give_up_s = time.monotonic() + TIMEOUT_S
        while not await asyncio.to_thread(is_ready, port):
            if child.poll() is not None or time.monotonic() > give_up_s:
                raise BenchmarkFailed("matching did not come to the end of the log")
            await asyncio.sleep(0.25)
    times_ms = [ts_ms async for ts_ms, value in records_of(kafka, EVENTS.name) if first <= header_of(value)[2] < end]
    duration_s = (times_ms[-1] - times_ms[0]) / 1000
    return {"commands_per_s": round((end - first) / duration_s), "events_per_s": round(len(times_ms) / duration_s)}


async def produce(kafka: str, records: Iterable[bytes]) -> int:
    """Appends records to the command log in whole batches; returns how many."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka, enable_idempotence=True, max_batch_size=262_144)
    count, builder = 0, None
    async with producer:
        for record in records:
            if builder is None or builder.append(key=None, value=record, timestamp=None) is None:
                if builder is not None:
                    await (await producer.send_batch(builder, COMMANDS.name, partition=0))
                builder = producer.create_batch()
                builder.append(key=None, value=record, timestamp=None)
            count += 1
        await (await producer.send_batch(builder, COMMANDS.name, partition=0))
    return count


async def records_of(kafka: str, topic: str) -> AsyncIterator[tuple[int, bytes]]:
    """Yields (timestamp in ms, value) of a topic's only partition up to the end it has now."""
    partition = TopicPartition(topic, 0)
    async with AIOKafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False) as consumer:
        consumer.assign([partition])
        consumer.seek(partition, 0)
        end = (await consumer.end_offsets([partition]))[partition]
        while await consumer.position(partition) < end:
            for record in (await consumer.getmany(partition, timeout_ms=1_000)).get(partition, ()):
                yield record.timestamp, record.value


@contextmanager
def process(kafka: str, work: Path, module: str, *arguments: str, **environment: str) -> Iterator[subprocess.Popen]:
    """A program of ours in a process of its own, ended in any case."""
    variables = os.environ | {"HOURBOOK_KAFKA": kafka, "HOURBOOK_DATA": str(work)} | environment
    with (work / "bench.log").open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", module, *arguments], cwd=REPOSITORY, env=variables, stderr=log, stdout=log
        )
    try:
        yield child
    finally:
        child.terminate()
        child.wait()


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000)))
