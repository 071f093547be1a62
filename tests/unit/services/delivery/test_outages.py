"""What the venue notes of its own absence: from marks, refused and slow reports, on a clock of the test's."""

from contextlib import asynccontextmanager

import pytest

from schemas.delivery import DELIVERY_EVENT, VenueOutage
from services.delivery import outages
from services.delivery.outages import OutageWatch
from services.delivery.reports import NonceStale
from services.delivery.settings import Settings
from services.delivery.store import QUERIES, Store
from services.kit.readiness import Readiness


class FakeDatabase:
    """Knows the statements that the watch uses; away while `is_away`."""

    def __init__(self, mark_ms: int | None = None):
        self.mark_ms, self.is_away, self.told, self.seq = mark_ms, False, [], 0

    @property
    def pool(self) -> "FakeDatabase":
        return self

    @asynccontextmanager
    async def transaction(self):
        yield Store(self)

    async def execute(self, text: str, *args: object) -> None:
        if self.is_away:
            raise ConnectionRefusedError
        if text == QUERIES.mark_alive:
            self.mark_ms = args[0]
        elif "publication" in text:
            self.told.append(DELIVERY_EVENT.validate_json(args[2]))

    async def fetchval(self, text: str, *args: object) -> object:
        if self.is_away:
            raise ConnectionRefusedError
        return self.mark_ms if text == QUERIES.last_mark else args[0]

    async def fetchrow(self, text: str, *args: object) -> tuple[int, bool]:
        if self.is_away:
            raise ConnectionRefusedError
        self.seq += 1
        return self.seq, False


class Play:
    """A watch, its database and the clock."""

    def __init__(self, monkeypatch, mark_ms: int | None = None, waiting: tuple[str, ...] = ()):
        self.now_ms = 100_000
        monkeypatch.setattr(outages, "now_ms", lambda: self.now_ms)
        self.database, self.readiness = FakeDatabase(mark_ms), Readiness(*waiting)
        self.watch = OutageWatch(Settings(), self.database, self.readiness)

    async def pass_time(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now_ms += 1_000
            await self.watch.step()

    def report(self, took_ms: int = 10, error: Exception | None = None) -> None:
        try:
            with self.watch.taking():
                self.now_ms += took_ms
                if error:
                    raise error
        except Exception as raised:
            assert raised is error

    def found(self) -> list[tuple[int, int, str]]:
        assert all(isinstance(event, VenueOutage) and event.node == "venue" for event in self.database.told)
        return [(event.from_ms, event.to_ms, event.cause) for event in self.database.told]


@pytest.fixture
def play(monkeypatch):
    return lambda **facts: Play(monkeypatch, **facts)


async def test_a_venue_that_is_there_notes_nothing(play):
    run = play()
    for _ in range(20):
        await run.pass_time(1)
        run.report()
        run.report(error=NonceStale("old"))
    assert (run.found(), run.watch.is_away, run.database.mark_ms) == ([], False, run.now_ms - 20)


async def test_the_time_since_the_last_mark_is_an_outage_until_a_report_is_taken(play):  # A18
    run = play(mark_ms=60_000, waiting=("the event log",))
    await run.pass_time(5)
    assert run.watch.is_away
    run.readiness.done("the event log")
    run.report()
    await run.pass_time(1)
    assert (run.found(), run.watch.is_away) == ([(60_000, 105_010, "service_stopped")], False)
    assert (run.watch.back_ms, run.watch.take_end(), run.watch.take_end()) == (105_010, True, False)


async def test_a_restart_is_an_outage_however_short_it_was(play):  # A18
    run = play(mark_ms=98_500)
    await run.pass_time(1)
    run.report()
    await run.pass_time(1)
    assert run.found() == [(98_500, 101_010, "service_stopped")]


async def test_an_outage_ends_without_a_report_when_all_has_been_well_for_a_report_interval(play):
    run = play(mark_ms=60_000, waiting=("the event log",))
    await run.pass_time(5)
    run.readiness.done("the event log")
    await run.pass_time(11)
    assert run.watch.is_away
    await run.pass_time(2)
    assert (run.found(), run.watch.is_away) == ([(60_000, 106_000, "service_stopped")], False)


async def test_refused_reports_are_an_outage_from_the_first_one_to_the_next_that_is_taken(play):
    run = play()
    await run.pass_time(2)
    run.database.is_away = True
    run.report(error=ConnectionRefusedError())
    await run.pass_time(10)
    run.report(error=ConnectionResetError())
    assert run.watch.is_away
    run.database.is_away = False
    run.report()
    await run.pass_time(1)
    assert run.found() == [(102_000, 112_030, "refused")]


async def test_a_report_that_waited_too_long_is_an_outage_while_it_waited(play):
    run = play()
    await run.pass_time(1)
    run.report(took_ms=3_000)
    run.report(took_ms=3_001)
    run.watch.look_at_clock(101_000)
    assert run.watch.back_ms == 107_001


async def test_reports_that_waited_in_one_stall_are_one_outage(play):
    run = play()
    await run.pass_time(1)
    with run.watch.taking():
        run.now_ms += 500
        with run.watch.taking():
            run.now_ms += 4_000
    await run.pass_time(1)
    assert [outage for outage in run.found() if outage[2] == "slow"] == [(101_000, 105_500, "slow")]


async def test_a_loop_that_stood_still_is_an_outage(play):
    run = play()
    await run.pass_time(3)
    run.now_ms += 30_000
    run.watch.look_at_clock(run.now_ms)
    await run.pass_time(1)
    assert run.found() == [(103_000, 133_000, "service_stopped")]
