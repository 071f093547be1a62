"""The matching process on a real broker: what it does with the logs it finds, and that there is only one of it."""

import asyncio
from hashlib import sha256

from schemas.events import EVENT, AnyEvent
from schemas.topics import EVENTS
from services.matching.domain import LogsDiffer, Superseded, in_sequence
from services.matching.settings import MatchingSettings
from services.matching.snapshots import list_snapshots
from tests.fixtures.command_log import CommandLog, produce
from tests.fixtures.matching_service import applied, failure_of, running, wait_until


async def first_run(log: CommandLog, settings: MatchingSettings) -> list[bytes]:
    """One run that answers three credits and leaves no snapshot; returns its events."""
    await log.credit(100, 200, 300)
    async with running(settings):
        pass
    for snapshot in list_snapshots(settings.snapshots_dir):
        snapshot.path.unlink()
    return await log.events()


def renumbered(event: bytes, seq: int) -> bytes:
    return event.replace(f'"seq":{EVENT.validate_json(event).seq},'.encode(), f'"seq":{seq},'.encode())


def read(events: list[bytes]) -> list[AnyEvent]:
    return [EVENT.validate_json(event) for event in events]


def credited(events: list[bytes]) -> list[int]:
    return [event.amount_micros for event in read(events) if event.type == "credited"]


def link_after(events: list[bytes]) -> bytes:
    """Checks the chain from the bytes of the log alone, and returns its end."""
    link, of_record, offset = bytes(32), b"", None
    for raw, event in zip(events, read(events), strict=True):
        if event.in_offset != offset:
            link = sha256(link + of_record).digest() if of_record else link
            of_record, offset = b"", event.in_offset
        assert event.prev_link == link.hex()
        of_record += raw
    return sha256(link + of_record).digest()


async def test_every_record_is_answered_in_sequence_and_chained(log, settings):
    async with running(settings) as service:
        await applied(service, await log.append(b"no command"))
        events, link = await log.events(), service.engine.link
    assert [event.seq for event in read(events)] == list(range(1, len(events) + 1))
    last = read(events)[-1]
    assert (last.type, last.source, last.number, last.code) == ("record_rejected", None, None, "malformed")
    assert link_after(events) == link


async def test_an_equal_tail_is_compared_and_not_written_again(log, settings):
    before = await first_run(log, settings)
    async with running(settings) as service:
        assert service.engine.epoch == 2
    after = await log.events()
    assert after[: len(before)] == before
    assert [event.type for event in read(after[len(before) :])] == ["epoch_started"]


async def test_events_that_the_log_lacks_are_written_after_a_crash(log, settings):
    before = await first_run(log, settings)
    await log.credit(400)
    async with running(settings):
        after = await log.events()
    assert after[: len(before)] == before
    assert credited(after) == [100, 200, 300, 400]


async def test_events_written_twice_by_a_second_engine_are_compared_once(log, settings):
    before = await first_run(log, settings)
    await produce(log.bootstrap, EVENTS.name, *before[2:])
    async with running(settings) as service:
        assert service.engine.epoch == 2
    fresh, last_seq = in_sequence(await log.events(), 0)
    assert (fresh[:-1], last_seq) == (before, len(before) + 1)


async def test_a_tail_of_other_bytes_stops_the_process_before_it_writes_anything(log, settings):
    before = await first_run(log, settings)
    await log.credit(400)
    forged = renumbered(before[-1], len(before) + 1)
    await produce(log.bootstrap, EVENTS.name, forged)
    commands = await log.commands()
    error = await failure_of(settings)
    assert type(error) is LogsDiffer
    assert str(error).startswith(f"seq {len(before) + 1}: the log has {forged!r}, the engine computes")
    assert (await log.events(), await log.commands()) == ([*before, forged], commands)


async def test_events_that_no_command_explains_stop_the_process(log, settings):
    before = await first_run(log, settings)
    await produce(log.bootstrap, EVENTS.name, beyond := renumbered(before[-1], len(before) + 1))
    commands = await log.commands()
    error = await failure_of(settings)
    assert (type(error), str(error)) == (LogsDiffer, f"no command explains {beyond!r}")
    assert await log.commands() == commands


async def test_a_zombie_stops_when_it_reads_a_newer_epoch_and_readers_lose_nothing(log, settings):
    zombie = asyncio.create_task(failure_of(settings))
    await wait_for_epoch(log, 1)
    async with running(settings) as newer:
        error = await zombie
        await log.credit(100)
        await applied(newer, len(await log.commands()) - 1)
        fresh, last_seq = in_sequence(await log.events(), 0)
        assert last_seq == newer.engine.seq
    assert (type(error), str(error)) == (Superseded, "epoch 2 follows this process's 1")
    assert credited(fresh) == [100]
    assert link_after(fresh) == newer.engine.link


async def wait_for_epoch(log: CommandLog, epoch: int) -> None:
    async with asyncio.timeout(20):
        while not any(event.type == "epoch_started" and event.epoch == epoch for event in read(await log.events())):
            await asyncio.sleep(0.1)


async def test_ticks_let_time_pass_and_are_never_ahead_of_a_slow_engine(log, settings):
    hasty = settings.model_copy(update={"tick_interval_ms": 20})
    async with running(hasty) as service:
        start = service.engine.next_offset
        await wait_until(lambda: service.engine.next_offset >= start + 10)
    assert set((await log.commands())[start:]) == {b'{"type":"tick"}'}
