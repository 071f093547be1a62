"""Snapshots on disk: found newest first, unusable ones named and passed over, written by a forked child, renamed when
safe.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import structlog

from matching_engine import BadSnapshot, Engine
from services.matching.domain import LogLost

NAME = re.compile(r"^engine-(\d{16})-(\d{16})\.snapshot$")
DESCRIPTORS_MAX = 1 << 20


@dataclass(frozen=True)
class SnapshotFile:
    """One snapshot: the engine after all records before `next_offset`, when it had emitted `seq` events."""

    path: Path
    next_offset: int
    seq: int


def list_snapshots(folder: Path) -> list[SnapshotFile]:
    """Return the snapshots of a folder, newest first."""
    named = ((path, NAME.match(path.name)) for path in folder.glob("engine-*.snapshot"))
    found = [SnapshotFile(path, int(match[1]), int(match[2])) for path, match in named if match]
    return sorted(found, key=lambda snapshot: snapshot.next_offset, reverse=True)


def load_newest(folder: Path, commands_end: int, events_end: int) -> Engine:
    """Return an engine from the newest usable snapshot, else a fresh one.

    A snapshot is too new when the events end before it: `seq` events need at least `seq` records. Unusable ones stay
    where they are, and are named in the log. Raises LogLost where commands end before it: they were acknowledged, and
    an engine without them would give their numbers to others.
    """
    log = structlog.get_logger()
    for snapshot in list_snapshots(folder):
        if snapshot.next_offset > commands_end:
            raise LogLost(f"the command log ends at record {commands_end}, {snapshot.path.name} goes further")
        if snapshot.seq > events_end:
            log.error("snapshot is newer than the logs", path=str(snapshot.path), commands_end=commands_end,
                      events_end=events_end)  # fmt: skip
            continue
        try:
            engine = Engine.restore(snapshot.path.read_bytes())
        except (BadSnapshot, OSError) as error:
            log.error("snapshot cannot be used", path=str(snapshot.path), error=str(error))
            continue
        if (engine.next_offset, engine.seq) != (snapshot.next_offset, snapshot.seq):
            log.error("snapshot holds another state than its name says", path=str(snapshot.path))
            continue
        log.info("snapshot loaded", path=str(snapshot.path), next_offset=engine.next_offset, seq=engine.seq)
        return engine
    log.info("no usable snapshot, starting from the first record")
    return Engine()


class SnapshotWriter:
    """Writes one snapshot at a time off the live loop."""

    def __init__(self, folder: Path, kept: int):
        self._folder, self._kept = folder, kept
        self._child: int | None = None
        self._target: SnapshotFile | None = None
        self._written = False
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob("*.tmp"):
            leftover.unlink()

    @property
    def busy(self) -> bool:
        """Whether a snapshot is under way."""
        return self._target is not None

    @property
    def writing(self) -> bool:
        """Whether the child is still at it."""
        return self._child is not None

    def start(self, engine: Engine) -> None:
        """Fork a child that writes the engine as it is now; call it between two commands only."""
        self._target = self._file_of(engine)
        temporary = self._temporary(self._target)
        self._child = os.fork()
        if self._child == 0:
            _write_and_exit(engine, temporary)

    def poll(self, acknowledged_seq: int) -> SnapshotFile | None:
        """Rename the file once the child is done and the events up to its sequence are in the log; return it then."""
        if self._child is not None:
            ended, status = os.waitpid(self._child, os.WNOHANG)
            if not ended:
                return None
            self._child = None
            if status != 0:
                structlog.get_logger().error("snapshot failed", status=os.waitstatus_to_exitcode(status))
                self._target = None
                return None
        if self._target is None or self._target.seq > acknowledged_seq:
            return None
        done, self._target = self._target, None
        self._publish(done)
        return done

    def write_now(self, engine: Engine) -> SnapshotFile:
        """Write a snapshot in this process; its events must have been acknowledged."""
        target = self._file_of(engine)
        _write_file(self._temporary(target), engine)
        self._publish(target)
        return target

    def abandon(self) -> None:
        """Forget a snapshot under way; its child ends by itself and its temporary file goes at the next start."""
        if self._child is not None:
            os.waitpid(self._child, 0)
        self._child = self._target = None

    def _file_of(self, engine: Engine) -> SnapshotFile:
        name = f"engine-{engine.next_offset:016}-{engine.seq:016}.snapshot"
        return SnapshotFile(self._folder / name, engine.next_offset, engine.seq)

    @staticmethod
    def _temporary(target: SnapshotFile) -> Path:
        return target.path.with_suffix(".tmp")

    def _publish(self, target: SnapshotFile) -> None:
        self._temporary(target).rename(target.path)
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        for old in list_snapshots(self._folder)[self._kept :]:
            old.path.unlink()


def _write_file(path: Path, engine: Engine) -> None:
    content = memoryview(engine.snapshot())
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        while content:
            content = content[os.write(descriptor, content) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_and_exit(engine: Engine, path: Path) -> None:
    # The child touches neither the event loop nor Kafka nor logs nor locks; an exit status is all it says.
    status = 1
    try:
        os.closerange(0, DESCRIPTORS_MAX)
        _write_file(path, engine)
        status = 0
    finally:
        os._exit(status)
