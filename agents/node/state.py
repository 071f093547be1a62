"""The agent's memory on disk: small JSON files, each replaced in one step, the node's private key, and a journal."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from agents.node.errors import StateInUse

LOCK_FILE = "agent.lock"


class StateFolder:
    """A folder of named JSON documents. `durable` syncs each write; only a fleet of played sites goes without."""

    def __init__(self, path: Path, durable: bool = True) -> None:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path, self.durable = path, durable

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps every other agent off the folder, until the block or the process ends, however it ends.

        Raises StateInUse with the pid of the agent that has it.
        """
        descriptor = os.open(self.path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
                raise StateInUse(
                    f"the agent with pid {holder} works on {self.path} already: one agent per state folder"
                ) from error
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
            yield
        finally:
            os.close(descriptor)

    def read(self, name: str) -> dict | None:
        """Returns a document, or None where there is none yet."""
        file = self.path / f"{name}.json"
        return json.loads(file.read_bytes()) if file.exists() else None

    def write(self, name: str, document: dict) -> None:
        """Replaces a document in one step."""
        self.write_bytes(f"{name}.json", json.dumps(document, indent=1).encode())

    def write_bytes(self, file_name: str, content: bytes, mode: int = 0o600) -> None:
        """Replaces a file in one step: a reader, or a start after a crash, sees the old or the new one."""
        target = self.path / file_name
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_name(target.name + ".new")
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            if self.durable:
                os.fsync(file.fileno())
        unfinished.replace(target)
        if self.durable:
            _sync_folder(target.parent)


class Journal:
    """A file of lines `kind content`, appended one at a time; the last may have been cut off by a crash."""

    def __init__(self, state: StateFolder, file_name: str) -> None:
        self._state, self._file_name = state, file_name
        self._path = state.path / file_name
        self._file: BinaryIO | None = None
        self.size_bytes = 0

    def read(self) -> list[tuple[str, bytes]]:
        """Returns the whole lines."""
        raw = self._path.read_bytes() if self._path.exists() else b""
        lines = (line.partition(b" ") for line in raw.split(b"\n")[:-1])
        return [(kind.decode(), content) for kind, _, content in lines]

    def append(self, kind: str, content: bytes, lasting: bool) -> None:
        """Adds a line; `lasting` ones are on the disk before this returns."""
        if self._file is None:
            self._file = self._path.open("ab", buffering=0)
        line = b"%s %s\n" % (kind.encode(), content)
        self._file.write(line)
        self.size_bytes += len(line)
        if lasting and self._state.durable:
            os.fsync(self._file.fileno())

    def rewrite(self, lines: list[tuple[str, bytes]]) -> None:
        """Replaces the whole file in one step."""
        if self._file is not None:
            self._file.close()
            self._file = None
        whole = b"".join(b"%s %s\n" % (kind.encode(), content) for kind, content in lines)
        self._state.write_bytes(self._file_name, whole)
        self.size_bytes = len(whole)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
