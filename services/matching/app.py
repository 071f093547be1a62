"""Plugs the matching service together: waits for the logs, restores, compares, takes the epoch, then runs."""

import asyncio

import structlog

from matching_engine import Engine
from schemas.topics import COMMANDS, EVENTS
from services.kit.auth import Authenticator, KeyDirectory
from services.kit.key_feed import follow_keys
from services.kit.logs import configure_logs
from services.kit.process import run_service, tune_gc
from services.kit.readiness import Readiness
from services.kit.servers import Servers
from services.kit.serving import serve
from services.matching import metrics
from services.matching.api import make_matching_app
from services.matching.command_sender import CommandSender
from services.matching.event_tail import EventTail
from services.matching.event_writer import EventWriter
from services.matching.handlers import Matching
from services.matching.kafka import LogReader
from services.matching.settings import MatchingSettings
from services.matching.snapshots import SnapshotWriter, load_newest


class MatchingService:
    """One run of the service, from waiting for Kafka to the last snapshot."""

    def __init__(self, settings: MatchingSettings):
        self.settings = settings
        self.readiness = Readiness(
            "Kafka", "genesis", "the end of the command log", "epoch", servers=Servers(settings, named_only=True)
        )
        self.commands = LogReader(settings, COMMANDS.name)
        self.sender = CommandSender(settings, COMMANDS.name)
        self.engine: Engine | None = None
        self.writer: EventWriter | None = None
        self.snapshots: SnapshotWriter | None = None
        self.matching: Matching | None = None
        self._ticking: asyncio.Task | None = None

    async def run(self, tasks: asyncio.TaskGroup) -> None:
        """Run until cancelled or until something must not go on."""
        try:
            await self._wait_for_genesis()
            await self._restore(tasks)
            await self._take_over()
            self._ticking = tasks.create_task(self.sender.tick_for_ever(lambda: self.engine.next_offset))
            while True:
                await self.matching.step()
        except asyncio.CancelledError:
            self._write_last_snapshot()
            raise
        finally:
            if self._ticking is not None:
                self._ticking.cancel()
            await self.sender.close()
            await self.commands.close()

    async def _wait_for_genesis(self) -> None:
        await self.commands.open()
        self.readiness.done("Kafka")
        while not await self.commands.end():
            structlog.get_logger().warning("waiting for the genesis record", topic=COMMANDS.name)
            await asyncio.sleep(self.settings.reconnect_delay_s)
        self.readiness.done("genesis")

    async def _restore(self, tasks: asyncio.TaskGroup) -> None:
        # The end of the events comes first: whatever they hold by then, the commands before their own end explain.
        tail = await EventTail.open(self.settings, EVENTS.name)
        end = await self.commands.end()
        self.engine = load_newest(self.settings.snapshots_dir, end, tail.end)
        tail.seek(self.engine.seq)
        self.commands.seek(self.engine.next_offset)
        self.writer = EventWriter(self.settings, EVENTS.name, self.engine.seq)
        self.snapshots = SnapshotWriter(self.settings.snapshots_dir, self.settings.snapshots_kept)
        self.matching = Matching(self.settings, self.engine, self.commands, tail, self.writer, self.snapshots)
        tasks.create_task(self.writer.run())
        tune_gc()  # the state restored from the snapshot too
        await self.matching.catch_up(end)
        await tail.close()
        self.readiness.done("the end of the command log")

    async def _take_over(self) -> None:
        await self.sender.open()
        granted = False
        while not granted:
            epoch = self.engine.epoch + 1
            granted = await self.matching.await_epoch(await self.sender.send_epoch(epoch), epoch)
        await self.writer.flush()
        self.readiness.done("epoch")
        metrics.EPOCH.set(epoch)
        structlog.get_logger().info("matching", epoch=epoch, next_offset=self.engine.next_offset, seq=self.engine.seq)

    def _write_last_snapshot(self) -> None:
        if self.matching is None or self.writer.acknowledged_seq != self.engine.seq:
            return
        self.snapshots.abandon()
        snapshot = self.snapshots.write_now(self.engine)
        structlog.get_logger().info("snapshot written", next_offset=snapshot.next_offset, seq=snapshot.seq)


def run() -> None:
    """Run the service in this process."""
    settings = MatchingSettings()
    configure_logs("matching", settings.log_level)
    service = MatchingService(settings)
    keys = KeyDirectory()
    app = make_matching_app(
        service,
        Authenticator(
            keys,
            settings.signature_window_ms,
            ahead_ms=settings.signature_ahead_ms,
            requests_per_s=settings.key_requests_per_s,
        ),
    )

    async def main(tasks: asyncio.TaskGroup) -> None:
        tasks.create_task(serve(app, settings, settings.matching_port))
        tasks.create_task(follow_keys(settings, keys, asyncio.Event()))
        await service.run(tasks)

    run_service(main)
