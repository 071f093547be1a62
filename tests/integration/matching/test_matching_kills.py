"""Matching and broker killed under load: nothing lost, nothing double, and a replay gives the same bytes."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from infra.embedded import Running
from infra.ports import free_port
from schemas.events import EVENT
from services.matching.domain import in_sequence
from services.matching.replay import replay
from services.matching.settings import MatchingSettings
from services.matching.snapshots import list_snapshots
from tests.fixtures.command_log import CommandLog
from tests.fixtures.matching_service import applied, running, wait_until

CREDITS = 40


@contextmanager
def process(settings: MatchingSettings) -> Iterator[subprocess.Popen]:
    """A matching service in a process of its own, which may be killed."""
    environment = os.environ | {
        "HOURBOOK_KAFKA": settings.kafka,
        "HOURBOOK_DATA": str(settings.data),
        "HOURBOOK_MATCHING_PORT": str(free_port()),
        "HOURBOOK_SNAPSHOT_EVERY_OFFSETS": str(settings.snapshot_every_offsets),
        "HOURBOOK_SNAPSHOT_PAUSE_S": "0",
        "HOURBOOK_TICK_INTERVAL_MS": "20",
    }
    child = subprocess.Popen([sys.executable, "-m", "services.matching"], env=environment, stderr=subprocess.DEVNULL)
    try:
        yield child
    finally:
        child.kill()
        child.wait()


async def credited(log: CommandLog) -> list[int]:
    fresh, _ = in_sequence(await log.events(), 0)
    events = [EVENT.validate_json(event) for event in fresh]
    return [event.amount_micros for event in events if event.type == "credited"]


async def until_epoch(log: CommandLog, epoch: int) -> None:
    async with asyncio.timeout(30):
        while not any(
            event.startswith(b'{"type":"epoch_started"') and event.endswith(f'"epoch":{epoch}}}'.encode())
            for event in await log.events()
        ):
            await asyncio.sleep(0.1)


@pytest.mark.slow
async def test_killed_again_and_again_it_goes_on_where_it_was(log, settings):
    often = settings.model_copy(update={"snapshot_every_offsets": 15})
    for epoch in range(1, 4):
        with process(often) as child:
            await until_epoch(log, epoch)
            await log.credit(*range(epoch * 100, epoch * 100 + CREDITS))
            child.send_signal(signal.SIGKILL)
    async with running(settings) as service:
        assert list_snapshots(settings.snapshots_dir)
        await applied(service, len(await log.commands()) - 1)
        assert service.engine.epoch == 4
    expected = [amount for epoch in range(1, 4) for amount in range(epoch * 100, epoch * 100 + CREDITS)]
    assert await credited(log) == expected
    replayed = await replay(settings)
    assert (replayed.difference, replayed.compared) == (None, replayed.engine.seq)


async def test_a_terminated_process_leaves_a_snapshot_and_says_nothing_twice(log, settings):
    with process(settings) as child:
        await until_epoch(log, 1)
        child.terminate()
        assert child.wait(20) == 0
    events = await log.events()
    snapshot = list_snapshots(settings.snapshots_dir)[0]
    assert snapshot.seq == len(events)
    async with running(settings) as service:
        assert service.engine.epoch == 2
    assert (await log.events())[: len(events)] == events


@pytest.mark.slow
async def test_a_killed_broker_costs_no_event(own_kafka: Running, log, settings):
    async with running(settings) as service:
        for round_ in range(2):
            await log.credit(*range(round_ * 100 + 1, round_ * 100 + CREDITS))
            await asyncio.to_thread(own_kafka.kill)
            await asyncio.sleep(0.5)
            await asyncio.to_thread(own_kafka.start)
            await log.credit(round_ * 100 + CREDITS)
        end = len(await log.commands())
        await wait_until(lambda: service.engine.next_offset >= end and not service.writer.waiting, 60)
    assert await credited(log) == [round_ * 100 + amount for round_ in range(2) for amount in range(1, CREDITS + 1)]
    assert (await replay(settings)).difference is None


async def test_it_starts_before_kafka_and_goes_on_when_kafka_comes(own_kafka: Running, log, settings):
    await asyncio.to_thread(own_kafka.stop)
    starting = asyncio.create_task(first_answer(settings))
    await asyncio.sleep(1)
    assert not starting.done()
    await asyncio.to_thread(own_kafka.start)
    assert await starting == 1


async def first_answer(settings: MatchingSettings) -> int:
    async with running(settings) as service:
        return service.engine.epoch
