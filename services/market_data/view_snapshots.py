"""Snapshots of the view on disk: a start reads the newest that fits, and of the event log only what came after it."""

import os
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import structlog

from services.market_data import books, candles, contracts, domain, index, packing
from services.market_data.domain import Market

NAME = re.compile(r"^market-(\d{16})\.fold$")
KEPT = 4
DESCRIPTORS_MAX = 1 << 20


class DamagedSnapshot(Exception):
    """The file is not what was written, or other code wrote it."""


@dataclass(frozen=True)
class ViewSnapshot:
    """A market's state as it stood after `seq`, whole commands only; `next_offset` is where the event log goes on."""

    state: dict[str, Any]
    seq: int
    next_offset: int


@cache
def version() -> str:
    """Name the code of the view: a snapshot of other code could hold what this one would never have come to."""
    digest = sha256()
    for module in (domain, books, candles, contracts, index, packing):
        digest.update(Path(sys.modules[module.__name__].__file__).read_bytes())
    return digest.hexdigest()


class ViewSnapshots:
    """The snapshots of one data folder, written one at a time by a forked child, off the live loop."""

    def __init__(self, folder: Path, every_events: int, every_s: float) -> None:
        self._folder, self._every_events, self._every_s = folder, every_events, every_s
        self._seq, self._taken_at_s = 0, time.monotonic()
        self._child: int | None = None

    def newest(self, seq_max: int, log_ms_max: int) -> ViewSnapshot | None:
        """Return the newest market that is not after `seq_max` (what the tables have) and `log_ms_max` (what the feed
        must still be able to send again); None where the log has to be read from its start. Damaged files are named.
        """
        log = structlog.get_logger()
        for seq, path in self._files():
            if seq > seq_max:
                continue
            try:
                snapshot = read_snapshot(path)
            except (DamagedSnapshot, packing.BadState, OSError) as error:
                log.error("snapshot of the market is not used", path=str(path), error=str(error))
                continue
            if snapshot.state["log_ms"] <= log_ms_max:
                log.info("market loaded from its snapshot", path=str(path), seq=snapshot.seq)
                self._seq = snapshot.seq
                return snapshot
        log.info("no usable snapshot of the market, reading the event log from its start")
        return None

    def offer(self, market: Market, next_offset: int) -> None:
        """Write a snapshot if it is time; call it between two commands. It counts once the tables are as far."""
        if self.busy() or not self._due(market.seq):
            return
        self._seq, self._taken_at_s = market.seq, time.monotonic()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._child = os.fork()
        if self._child == 0:
            _write_and_exit(self._folder, market, next_offset)

    def busy(self) -> bool:
        """Say whether the child is still at it; once it is done, old snapshots go."""
        if self._child is None:
            return False
        ended, status = os.waitpid(self._child, os.WNOHANG)
        if not ended:
            return True
        self._child = None
        if status:
            code = os.waitstatus_to_exitcode(status)
            structlog.get_logger().error("snapshot of the market failed", status=code)
        for _, path in list(self._files())[KEPT:]:
            path.unlink()
        return False

    def _due(self, seq: int) -> bool:
        enough = seq - self._seq >= self._every_events
        return enough or (seq > self._seq and time.monotonic() - self._taken_at_s >= self._every_s)

    def _files(self) -> Iterator[tuple[int, Path]]:
        """Yield sequence and path, newest first."""
        named = ((path, NAME.match(path.name)) for path in self._folder.glob("market-*.fold"))
        yield from sorted(((int(match[1]), path) for path, match in named if match), reverse=True)


def write_snapshot(folder: Path, market: Market, next_offset: int) -> Path:
    """Write one snapshot: a line that says what it is, then the state; the file appears whole or not at all."""
    body = packing.pack(market.state())
    head = {"version": version(), "seq": market.seq, "next_offset": next_offset, "sha256": sha256(body).hexdigest()}
    path = folder / f"market-{market.seq:016}.fold"
    temporary = path.with_suffix(".tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        content = memoryview(orjson.dumps(head) + b"\n" + body)
        while content:
            content = content[os.write(descriptor, content) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.rename(path)
    return path


def read_snapshot(path: Path) -> ViewSnapshot:
    """Read one snapshot. Raises DamagedSnapshot, BadState or OSError."""
    head, _, body = path.read_bytes().partition(b"\n")
    try:
        said = orjson.loads(head)
        if said["version"] != version():
            raise DamagedSnapshot("written by another version of the view")
        if said["sha256"] != sha256(body).hexdigest():
            raise DamagedSnapshot("checksum differs")
        state = packing.unpack(body)
        if state.keys() != Market().state().keys() or state["seq"] != said["seq"]:
            raise DamagedSnapshot("holds another state than it says")
        return ViewSnapshot(state, said["seq"], said["next_offset"])
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedSnapshot(repr(error)) from error


def _write_and_exit(folder: Path, market: Market, next_offset: int) -> None:
    # The child touches neither the event loop nor Kafka, PostgreSQL, logs or locks; an exit status is all it says.
    status = 1
    try:
        os.closerange(0, DESCRIPTORS_MAX)
        write_snapshot(folder, market, next_offset)
        status = 0
    finally:
        os._exit(status)
