"""The records of the keys' topic once more, in a file beside both stores: what a restored backup has not heard of."""

import asyncio
import os
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

import structlog
from pydantic import ValidationError

from schemas.accounts import KEY_EVENT, AnyKeyEvent


class KeyFile:
    """One canonical record a line, only ever added to. Every record proves itself, so that nobody needs to trust it.

    A file that cannot be written keeps nobody from ending a key: it is said in the log, and the stores have the record.
    """

    def __init__(self, path: Path):
        self._path = path
        self._kept: set[bytes] = set()

    async def read(self) -> list[AnyKeyEvent]:
        """Return the records in the order in which they came; a line that is none, as one cut off, is passed over."""
        return await asyncio.to_thread(self._read)

    def _read(self) -> list[AnyKeyEvent]:
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            structlog.get_logger().error("the file of keys cannot be read", path=str(self._path), error=str(error))
            return []
        records = []
        for line in lines:
            try:
                records.append(KEY_EVENT.validate_json(line))
            except ValidationError:
                structlog.get_logger().warning("a line of the file of keys is no record", path=str(self._path))
                continue
            self._kept.add(_name(line))
        return records

    async def keep(self, records: Iterable[AnyKeyEvent]) -> None:
        """Add those records that the file has not, and return when the disk has them."""
        lines = {_name(line): line for line in (record.canonical() for record in records)}
        new = {name: line for name, line in lines.items() if name not in self._kept}
        if not new:
            return
        try:
            await asyncio.to_thread(self._add, b"".join(line + b"\n" for line in new.values()))
        except OSError as error:
            structlog.get_logger().error("the file of keys cannot be written", path=str(self._path), error=str(error))
            return
        self._kept.update(new)

    def _add(self, lines: bytes) -> None:
        with os.fdopen(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "rb+") as file:
            end = file.seek(0, os.SEEK_END)
            if end:
                file.seek(end - 1)
                if file.read(1) != b"\n":  # the last line was cut off
                    lines = b"\n" + lines
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())


def _name(line: bytes) -> bytes:
    return sha256(line).digest()
