"""Bounds what a lease keeps on the disk: looks often while space dwindles, and ends what runs where it is too much."""

import asyncio
import os
import stat
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from pathlib import Path

LOOK_S, MEASURE_S = 1.0, 30.0
# Space that went from the file system since the last measuring, as a part of the bound, makes it due at once.
GONE_PART = 16
# Measuring takes at most this part of the time.
PAUSE_TIMES = 5
# A home over its bound may shrink; what it grows by beside that, a log's line or two, ends nothing.
SLACK_BYTES = 1 << 20
BLOCK_BYTES = 512
# Names are at most 255 bytes, paths 4,096: below this one every entry can be named.
PATH_MAX = 3_800
OWNERS_ALL = 0o700


class VolumeWatch:
    """Watches one lease's volume. `measure` gives its bytes; `end` ends what runs in the lease and tells the buyer why.

    While a volume is too large its buyer can get in and delete: it is ended again only where it has grown since.
    """

    def __init__(
        self, place: Path, bytes_max: int, measure: Callable[[], int], end: Callable[[str], Awaitable[None] | None]
    ) -> None:
        self._place, self._bytes_max, self._measure, self._end = place, bytes_max, measure, end
        self._allowed = bytes_max
        self._free_then: int | None = None
        self._due_at = self._not_before = 0.0

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Measure where that is due, and end what runs where the volume is too large."""
        now, free = time.monotonic(), free_bytes(self._place)
        has_dwindled = None not in (free, self._free_then) and self._free_then - free > self._bytes_max // GONE_PART
        if now < self._not_before or (now < self._due_at and not has_dwindled):
            return
        self._free_then = free
        size = await asyncio.to_thread(self._measure)
        took_s = time.monotonic() - now
        self._due_at, self._not_before = now + took_s + MEASURE_S, now + (1 + PAUSE_TIMES) * took_s
        if size <= self._bytes_max:
            self._allowed = self._bytes_max
        elif size > self._allowed:
            words = (
                f"the home holds {size >> 20} MiB of at most {self._bytes_max >> 20}: everything was ended; delete some"
            )
            print(words, file=sys.stderr, flush=True)
            ended = self._end(words)
            if ended is not None:
                await ended
            self._allowed = size + SLACK_BYTES
        else:
            self._allowed = min(self._allowed, size + SLACK_BYTES)


def free_bytes(place: Path) -> int | None:
    """Return what is free on the file system of a place, or of the nearest folder above that may be looked at."""
    for each in (place, *place.parents):
        with suppress(OSError):
            found = os.statvfs(each)
            return found.f_bavail * found.f_frsize
    return None


def folder_bytes(top: Path) -> int:
    """Return how much a folder takes on the disk; links are not followed, and closed folders are opened up."""
    total, waiting = 0, [str(top)]
    while waiting:
        folder = waiting.pop()
        if len(folder) > PATH_MAX:
            total += _deep_bytes(folder)
            continue
        for entry in _entries(folder):
            with suppress(OSError):
                found = entry.stat(follow_symlinks=False)
                total += found.st_blocks * BLOCK_BYTES
                if stat.S_ISDIR(found.st_mode):
                    waiting.append(entry.path)
    return total


def _entries(folder: str) -> list[os.DirEntry]:
    """Return what is in a folder. An owner who closed it to himself hides nothing by that."""
    for _ in range(2):
        try:
            with os.scandir(folder) as found:
                return list(found)
        except PermissionError:
            with suppress(OSError):
                _open_up(folder)
        except OSError:
            return []
    return []


def _deep_bytes(folder: str) -> int:
    """Ask `du`, which goes to any depth, about a folder whose content has paths that are too long."""
    said = subprocess.run(["du", "-s", "-B1", "--", folder], capture_output=True).stdout
    return int(said.split()[0]) if said.split() else 0


def _open_up(folder: str) -> None:
    """Let the owner into his folder; by a descriptor, so that no link put in its place is followed."""
    place = os.open(folder, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY)
    try:
        os.chmod(f"/proc/self/fd/{place}", OWNERS_ALL)
    finally:
        os.close(place)


def deleted_bytes(pids: Iterable[int], devices: Iterable[int]) -> int:
    """Return what processes hold on these devices in files that have no name any more, as far as they may be seen."""
    devices, found = frozenset(devices), {}
    for pid in pids:
        for kind in ("fd", "map_files"):
            folder = f"/proc/{pid}/{kind}"
            with suppress(OSError):
                for name in os.listdir(folder):
                    with suppress(OSError):
                        seen = os.stat(f"{folder}/{name}")
                        if stat.S_ISREG(seen.st_mode) and not seen.st_nlink and seen.st_dev in devices:
                            found[seen.st_dev, seen.st_ino] = seen.st_blocks * BLOCK_BYTES
    return sum(found.values())
