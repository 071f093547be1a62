"""The agent's memory on disk: small JSON files, each replaced in one step, a lock, a format, and a journal.

A disk that is full or broken never ends a running agent: what cannot be written stays in memory and is written later.
"""

import errno
import fcntl
import json
import logging
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from agents.node.errors import BadState, StateInUse
from agents.node.notices import Notices

LOCK_FILE = "agent.lock"
FORMAT_FILE = "format.json"
FORMAT = 2
"""What this agent writes: 1 was a journal without `placed` and `dropped`, and no format file."""
# Errors of one file, not of the disk that it lies on.
ONE_FILES = (errno.EISDIR, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.EEXIST, errno.ENOTEMPTY, errno.ELOOP)
log = logging.getLogger("hourbook.agent")


class StateFolder:
    """A folder of named JSON documents. `durable` syncs each write; only a fleet of played sites goes without."""

    def __init__(self, path: Path, durable: bool = True) -> None:
        self.path, self.durable = path, durable
        self.notices = Notices()
        self._unwritten: dict[str, dict] = {}
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        except (OSError, ValueError) as error:
            raise BadState(f"state folder {path}: {reason_of(error)}: choose one that the agent may write") from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps every other agent off the folder, until the block or the process ends, however it ends.

        Raises StateInUse with the pid of the agent that has it, BadState for a folder that cannot be written or was
        written by a newer agent.
        """
        try:
            descriptor = os.open(self.path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise BadState(f"state folder {self.path}: {reason_of(error)}: the agent must be able to write") from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
                raise StateInUse(
                    f"the agent with pid {holder} works on {self.path} already: one agent per state folder"
                ) from error
            self._sign_lock(descriptor)
            self._check_format()
            yield
        finally:
            os.close(descriptor)

    def read(self, name: str) -> dict | None:
        """Returns a document, None where there is none yet. A damaged one is set aside with one line, as if not there.

        Raises BadState where the file may not be read.
        """
        if name in self._unwritten:
            return self._unwritten[name]
        file = self.path / f"{name}.json"
        try:
            document = json.loads(file.read_bytes())
        except FileNotFoundError:
            return None
        except (IsADirectoryError, ValueError, RecursionError):
            document = None
        except OSError as error:
            raise BadState(f"{file}: {reason_of(error)}: let the agent's user read it") from error
        if isinstance(document, dict):
            return document
        self.set_aside(file)
        return None

    def set_aside(self, file: Path) -> None:
        """Keeps a damaged file under another name for whoever wants to look, and says so."""
        damaged = file.with_name(file.name + ".damaged")
        log.warning("%s is damaged: kept as %s; what was in it is asked from the venue again", file, damaged.name)
        try:
            file.replace(damaged)
        except OSError as error:
            self.notices.say("disk", f"{file}: {reason_of(error)}")

    def write(self, name: str, document: dict, lasting: bool = True) -> None:
        """Replaces a document in one step; one that the disk does not take stays in memory until it does.

        One that need not be `lasting` is not synced, and not tried again.
        """
        if lasting:
            self._unwritten[name] = document
            self.flush()
            return
        try:
            self.write_bytes(f"{name}.json", json.dumps(document, indent=1).encode(), lasting=False)
        except OSError as error:
            self.cannot_write(error)

    def flush(self) -> bool:
        """Writes what the disk did not take before; returns whether nothing is left."""
        try:
            for name, document in list(self._unwritten.items()):
                self.write_bytes(f"{name}.json", json.dumps(document, indent=1).encode())
                del self._unwritten[name]
        except OSError as error:
            self.cannot_write(error)
            return False
        return True

    def cannot_write(self, error: OSError) -> None:
        """Says once that the disk does not take what the agent must remember."""
        is_one_files = error.filename and error.errno in ONE_FILES
        place = error.filename2 or error.filename if is_one_files else f"state folder {self.path}"
        mend = "repair this file" if is_one_files else "free space or repair the disk"
        words = f"{place}: {reason_of(error)}: the agent continues from memory; {mend}"
        self.notices.say("disk", words)

    def can_write(self) -> None:
        """Notes that the disk takes everything again."""
        if not self._unwritten:
            self.notices.clear("disk", f"state folder {self.path} can be written again")

    def write_bytes(self, file_name: str, content: bytes, mode: int = 0o600, lasting: bool = True) -> None:
        """Replaces a file in one step: a reader, or a start after a crash, sees the old or the new one."""
        self.write_parts(file_name, (content,), mode, lasting)

    def write_parts(self, file_name: str, parts: Iterable[bytes], mode: int = 0o600, lasting: bool = True) -> int:
        """Replaces a file in one step by parts that are made one at a time; returns how many bytes they have."""
        target = self.path / file_name
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_name(target.name + ".new")
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        written = 0
        with os.fdopen(descriptor, "wb") as file:
            for part in parts:
                written += file.write(part)
            file.flush()
            if self.durable and lasting:
                os.fsync(file.fileno())
        unfinished.replace(target)
        if self.durable and lasting:
            _sync_folder(target.parent)
        return written

    def holder(self) -> str | None:
        """Returns the pid of the agent that works on the folder now, None where none does."""
        try:
            descriptor = os.open(self.path / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
        finally:
            os.close(descriptor)
        return None

    def _sign_lock(self, descriptor: int) -> None:
        try:
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        except OSError as error:
            self.cannot_write(error)

    def _check_format(self) -> None:
        known = self.read("format") or {}
        number = known.get("format", 1)
        if not isinstance(number, int) or number > FORMAT:
            words = f"written by a newer agent in format {number}, this one knows {FORMAT}: upgrade the agent"
            raise BadState(f"{self.path / FORMAT_FILE}: {words}")
        if number != FORMAT or not known:
            self.write("format", {"format": FORMAT})


@contextmanager
def only_one_of(node_id: str) -> Iterator[None]:
    """Keeps a second agent with this node's key off the machine, also one on a copy of the state folder.

    Two of them would sign two histories, which the venue takes for a fraud. Raises StateInUse. The socket's name is
    gone with the process, however it ends; another container of the machine is not seen.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as name:
        try:
            name.bind(f"\0hourbook-agent/{node_id}")
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                log.warning("whether another agent has the key of %s cannot be told: %s", node_id, reason_of(error))
            else:
                words = "each node has a state folder, and a node.key, of its own: start with an empty folder, no copy"
                raise StateInUse(f"another agent on this machine works with the key of {node_id}: {words}") from error
        yield


class Journal:
    """A file of lines `kind content`, appended one at a time; the last may have been cut off by a crash."""

    def __init__(self, state: StateFolder, file_name: str) -> None:
        self._state, self._file_name = state, file_name
        self.path = state.path / file_name
        self._file: BinaryIO | None = None
        self.size_bytes = 0

    def read(self) -> Iterator[tuple[str, bytes]]:
        """Yields the whole lines; the zeros that a crash may leave at the end are no line. Raises BadState."""
        try:
            with self.path.open("rb") as file:
                for line in file:
                    if line.endswith(b"\n"):
                        kind, _, content = line[:-1].partition(b" ")
                        yield kind.decode(errors="replace"), content
        except FileNotFoundError:
            return
        except IsADirectoryError:
            self._state.set_aside(self.path)
        except OSError as error:
            raise BadState(f"{self.path}: {reason_of(error)}: let the agent's user read it") from error

    def append(self, kind: str, content: bytes, lasting: bool) -> None:
        """Adds a line; `lasting` ones are on the disk before this returns. After an OSError only `rewrite` mends."""
        if self._file is None:
            self._file = self.path.open("ab", buffering=0)
        line = b"%s %s\n" % (kind.encode(), content)
        written = self._file.write(line)
        self.size_bytes += written
        if written != len(line):
            raise OSError(0, "the disk took a part of a line only")
        if lasting and self._state.durable:
            os.fsync(self._file.fileno())

    def rewrite(self, lines: Iterable[tuple[str, bytes]]) -> None:
        """Replaces the whole file in one step; the lines are made one at a time."""
        if self._file is not None:
            self._file.close()
            self._file = None
        parts = (b"%s %s\n" % (kind.encode(), content) for kind, content in lines)
        self.size_bytes = self._state.write_parts(self._file_name, parts)


def reason_of(error: Exception) -> str:
    """Returns what went wrong without the file's name, which stands beside it."""
    return getattr(error, "strerror", None) or str(error)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
