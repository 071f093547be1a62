"""The loop: a fetch of records in, the engine's events out, compared with the log as long as it has them already."""

import asyncio
import time
from collections.abc import Sequence

import structlog

from matching_engine import Engine
from services.matching import domain, metrics
from services.matching.clock import ClockWatch
from services.matching.event_tail import EventTail
from services.matching.event_writer import EventWriter
from services.matching.kafka import LogReader
from services.matching.settings import MatchingSettings
from services.matching.snapshots import SnapshotWriter


class Matching:
    """The engine between the two logs."""

    def __init__(
        self,
        settings: MatchingSettings,
        engine: Engine,
        commands: LogReader,
        tail: EventTail,
        writer: EventWriter,
        snapshots: SnapshotWriter,
    ):
        self._settings, self.engine = settings, engine
        self._commands, self._tail, self._writer, self._snapshots = commands, tail, writer, snapshots
        self._snapshot_offset, self._snapshot_at_s = engine.next_offset, time.monotonic()
        self._clock = ClockWatch(settings.clock_jump_ms_min)
        self.own_epoch: int | None = None
        self.at_rest = asyncio.Lock()  # whoever holds it may read the engine: no record is being applied

    async def step(self) -> list[bytes]:
        """Apply the next fetch, pass the events on and return them. Raises MatchingError where it must stop."""
        records = await self._commands.fetch()
        if not records:
            self._look_after_snapshot()
            return []
        events = await self._apply(records)
        if self.own_epoch is not None and self.engine.epoch > self.own_epoch:
            raise domain.Superseded(f"epoch {self.engine.epoch} follows this process's {self.own_epoch}")
        if self.own_epoch is not None:
            self._clock.look(records[-1].timestamp)
        await self._writer.write(await self._without_logged(events))
        self._look_after_snapshot()
        return events

    async def catch_up(self, end: int) -> None:
        """Apply everything before offset `end`; afterwards the event log must be explained to its end."""
        while self.engine.next_offset < end:
            await self.step()
        beyond = await self._tail.take(1)
        if beyond:
            raise domain.LogsDiffer(f"no command explains {beyond[0]!r}")

    async def await_epoch(self, offset: int, epoch: int) -> bool:
        """Apply up to this process's epoch record; say whether it was granted or lost to another process."""
        while True:
            granted = domain.epoch_granted(await self.step(), offset, epoch)
            if granted is not None:
                self.own_epoch = epoch if granted else None
                return granted

    async def _apply(self, records: Sequence) -> list[bytes]:
        start = time.perf_counter()
        async with self.at_rest:
            if len(records) < self._settings.apply_aside_min:
                events = self._run_engine(records)
            else:
                events = await self._run_engine_aside(records)
        metrics.APPLY_SECONDS.observe(time.perf_counter() - start)
        metrics.COMMANDS.inc(len(records))
        metrics.EVENTS.inc(len(events))
        metrics.NEXT_OFFSET.set(self.engine.next_offset)
        metrics.SEQ.set(self.engine.seq)
        metrics.ACKNOWLEDGED_SEQ.set(self._writer.acknowledged_seq)
        return events

    def _run_engine(self, records: Sequence) -> list[bytes]:
        return self.engine.apply([(record.offset, record.timestamp, record.value or b"") for record in records])

    async def _run_engine_aside(self, records: Sequence) -> list[bytes]:
        # A long fetch is applied in a thread: the engine leaves the interpreter's lock, and meanwhile the loop decodes
        # the next records and sends the last events. A cancelled step waits, since nobody may read a moving engine.
        applying = asyncio.ensure_future(asyncio.to_thread(self._run_engine, records))
        try:
            await self._commands.read_ahead()
            return await asyncio.shield(applying)
        except BaseException:
            await asyncio.wait((applying,))
            raise

    async def _without_logged(self, events: list[bytes]) -> list[bytes]:
        if self._tail.exhausted:
            return events
        logged = await self._tail.take(len(events))
        domain.check_same(events[: len(logged)], logged)
        self._writer.skip_to(self._writer.acknowledged_seq + len(logged))
        return events[len(logged) :]

    def _look_after_snapshot(self) -> None:
        published = self._snapshots.poll(self._writer.acknowledged_seq)
        if published:
            metrics.SNAPSHOT_OFFSET.set(published.next_offset)
            structlog.get_logger().info("snapshot written", next_offset=published.next_offset, seq=published.seq)
        if self.engine.next_offset - self._snapshot_offset < self._settings.snapshot_every_offsets:
            return
        start = time.monotonic()
        if start - self._snapshot_at_s >= self._settings.snapshot_pause_s and not self._snapshots.busy:
            self._snapshots.start(self.engine)
            metrics.FORK_SECONDS.set(time.monotonic() - start)
            self._snapshot_offset, self._snapshot_at_s = self.engine.next_offset, start
