"""When the venue itself could not take reports, from evidence: its own, the broker's and PostgreSQL's outages."""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import structlog

from schemas.delivery import VENUE, VenueOutage
from services.delivery.domain import DeliveryError
from services.delivery.effects import Effects, now_ms
from services.delivery.settings import Settings
from services.delivery.spans import Span, union
from services.delivery.store import Store
from services.kit.readiness import Readiness
from services.kit.store import AWAY

STOPPED, SLOW, REFUSED = "service_stopped", "slow", "refused"
Outage = tuple[int, int, str]  # from, to, cause


class OutageWatch:
    """Keeps a mark of when the service was up, and notes the spans in which reports were refused or waited too long.

    An outage ends with the first report that is taken, or when all has looked well for a while and none has come.
    `back_ms` is when the last one ended (the start of the service, if there was none): until then no node's silence is
    held against it.
    """

    def __init__(self, settings: Settings, effects: Effects, readiness: Readiness):
        self._settings, self._effects, self._readiness = settings, effects, readiness
        self._away_ms: int | None = None
        self._cause = STOPPED
        self._well_ms: int | None = None
        self._marked_ms: int | None = None
        self._under_way: dict[object, int] = {}
        self._unwritten: list[Outage] = []
        self._has_ended = False
        self.back_ms = now_ms()

    @property
    def is_away(self) -> bool:
        """Says whether reports cannot be taken now, as far as anybody has noticed."""
        return self._away_ms is not None or self._is_stuck(now_ms())

    @contextmanager
    def taking(self) -> Iterator[None]:
        """Watches over one report. What is refused by a rule was taken, for this purpose."""
        token, arrived_ms = object(), now_ms()
        self._under_way[token] = arrived_ms
        try:
            yield
        except (*AWAY, TimeoutError):
            self._note_away(arrived_ms, REFUSED)
            raise
        except DeliveryError:
            self._note_taken(arrived_ms, now_ms())
            raise
        else:
            self._note_taken(arrived_ms, now_ms())
        finally:
            del self._under_way[token]

    async def run(self) -> None:
        """Sets the mark for ever; what was noted is written as soon as the database is there."""
        while True:
            await self.step()
            await asyncio.sleep(self._settings.mark_interval_s)

    async def step(self) -> None:
        """Sets the mark once, or notes that it cannot."""
        started_ms = now_ms()
        try:
            await self._write(started_ms)
        except AWAY as error:
            self._note_away(started_ms, REFUSED)
            self._marked_ms = self._marked_ms and started_ms  # the loop did not stand still
            structlog.get_logger().warning("the outage watch waits for PostgreSQL", error=str(error))

    def look_at_clock(self, at_ms: int) -> None:
        """Notes that everything stood still, where the mark is older than it can be: process, machine or database."""
        if self._marked_ms is not None and at_ms - self._marked_ms > self._settings.outage_ms_min:
            self._close((self._marked_ms, at_ms), STOPPED)
            self._marked_ms = at_ms

    def take_end(self) -> bool:
        """Says, once, that an outage has ended."""
        has_ended, self._has_ended = self._has_ended, False
        return has_ended

    async def _write(self, at_ms: int) -> None:
        if self._marked_ms is None:
            await self._read_mark(at_ms)
        self.look_at_clock(at_ms)
        if self._unwritten:
            written, found = len(self._unwritten), joined(self._unwritten)
            async with self._effects.transaction() as store:
                for outage in found:
                    await tell_outage(store, *outage, at_ms)
            del self._unwritten[:written]
        await Store(self._effects.pool).run("mark_alive", at_ms)
        self._marked_ms = at_ms
        self.look_at_clock(now_ms())
        self._end_if_well(at_ms)

    async def _read_mark(self, at_ms: int) -> None:
        """Everything since the last mark of the run before is an outage, until a report is taken.

        However short it was: a service that stopped took no report, and with the report before it and the one after it
        even a second may be a longer darkness than a node may have.
        """
        mark_ms = await Store(self._effects.pool).value("last_mark")
        if mark_ms is not None and mark_ms < at_ms:
            self._note_away(mark_ms, STOPPED)

    def _end_if_well(self, at_ms: int) -> None:
        """Ends an outage after which no report came, when all has been well for as long as a node may take."""
        if self._readiness.waiting or self._is_stuck(at_ms):
            self._well_ms = None
            return
        self._well_ms = at_ms if self._well_ms is None else self._well_ms
        if self._away_ms is not None and at_ms - self._well_ms > self._settings.report_interval_ms_max:
            self._close((self._away_ms, self._well_ms), self._cause)
            self._away_ms = None

    def _is_stuck(self, at_ms: int) -> bool:
        first_ms = min(self._under_way.values(), default=at_ms)
        return at_ms - first_ms > self._settings.outage_ms_min

    def _note_away(self, since_ms: int, cause: str) -> None:
        self._well_ms = None
        if self._away_ms is None or since_ms < self._away_ms:
            self._away_ms, self._cause = since_ms, cause

    def _note_taken(self, arrived_ms: int, done_ms: int) -> None:
        if done_ms - arrived_ms > self._settings.outage_ms_min:
            self._close((arrived_ms, done_ms), SLOW)
        if self._away_ms is not None and arrived_ms >= self._away_ms:
            self._close((self._away_ms, done_ms), self._cause)
            self._away_ms = None

    def _close(self, span: Span, cause: str) -> None:
        if span[0] < span[1]:
            self._unwritten.append((*span, cause))
            self.back_ms, self._has_ended = max(self.back_ms, span[1]), True


def joined(outages: Iterable[Outage]) -> list[Outage]:
    """Returns the same time with what overlaps in one: a stall makes every report under way slow."""
    by_cause: dict[str, list[Span]] = {}
    for from_ms, to_ms, cause in outages:
        by_cause.setdefault(cause, []).append((from_ms, to_ms))
    return [(*span, cause) for cause, spans in by_cause.items() for span in union(spans)]


async def tell_outage(store: Store, from_ms: int, to_ms: int, cause: str, at_ms: int) -> None:
    """Writes an outage down, once, tells everyone, and has what it may change measured again."""
    if await store.value("insert_outage", from_ms, to_ms, cause) is None:
        return
    await store.publish(VenueOutage, VENUE, at_ms, from_ms=from_ms, to_ms=to_ms, cause=cause)
    await store.positions.note_change_everywhere(from_ms, to_ms, at_ms)
