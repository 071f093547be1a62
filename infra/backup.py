"""A copy of everything that an exchange keeps, stopped or running, checked byte by byte when it is put back.

A backup is a folder: `data/` as the data folder is, and `manifest.json` with each file's SHA-256 and the ends of logs.
It holds the services' private keys, so nobody but its owner can read it. The root key is never in it.
"""

import fcntl
import json
import os
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from infra import kafka_logs, postgres, processes
from infra.exchange import addresses
from infra.places import UNFINISHED, require_whole
from infra.running_backup import CopyFailed, copy_running
from infra.supervisor import AlreadyUp, end_left_over
from schemas.venue import NEWEST_RULESET

FORMAT = 1
MANIFEST = "manifest.json"
ROOT_FOLDER = "root"
NOT_KEPT = ("run", "logs", ROOT_FOLDER)
LOCK_FILE = "postmaster.pid"  # names a process of the time of the backup
CHUNK_BYTES = 1_048_576
FREE_BYTES_BEYOND = 64_000_000


class BackupError(RuntimeError):
    """A backup cannot be made or put back; the message is one line that says why."""


def back_up(data: Path, target: Path) -> dict[str, Any]:
    """Copies an exchange to a folder that is not there yet, and returns the manifest.

    The folder is there whole or not at all. Raises AlreadyUp for an exchange that is starting or stopping, BackupError,
    HalfRestored.
    """
    _require_exchange(data)
    if target.exists():
        raise BackupError(f"{target} already exists; a backup needs a folder of its own")
    if target.resolve().is_relative_to(data):
        raise BackupError(f"{target} lies inside the data folder")
    made_at_ms = time.time_ns() // 1_000_000
    with _held(data) as addresses:
        require_whole(data)
        partial = target.with_name(f"{target.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        copied = partial / "data"
        copied.mkdir(parents=True, mode=0o700)
        partial.chmod(0o700)
        _require_space(partial, _size_of(data))
        if addresses is None:
            for path in _files(data):
                _copy(path, copied / path.relative_to(data), _mode_of(path))
            for name in _empty_folders(data):
                (copied / name).mkdir(parents=True, exist_ok=True)
        else:
            try:
                copy_running(data, copied, addresses, lambda path, to: _copy(path, to, _mode_of(path)), NOT_KEPT)
            except CopyFailed as error:
                raise BackupError(str(error)) from error
        manifest = {
            "format": FORMAT,
            "made_at_ms": made_at_ms,
            "ruleset": NEWEST_RULESET,
            "ends": kafka_logs.ends(copied / "kafka" / "log"),
            "folders": sorted(_empty_folders(copied)),
            "files": {path.relative_to(copied).as_posix(): _entry(path) for path in _files(copied)},
        }
        _write_whole(partial / MANIFEST, json.dumps(manifest, indent=1).encode())
        partial.rename(target)
    return manifest


def holds_root_key(data: Path) -> bool:
    """Says whether a root key lies in a data folder, where it is not to stay; no backup has it."""
    return any((data / ROOT_FOLDER).glob("*"))


def restore(source: Path, data: Path) -> dict[str, Any]:
    """Puts a backup back into a data folder that has nothing, having checked every byte; returns the manifest.

    Raises BackupError, HalfRestored, and AlreadyUp for an exchange that runs.
    """
    manifest = check(source)
    if _is_running(data):
        raise AlreadyUp(data)
    require_whole(data)
    found = sorted(path.name for path in data.iterdir()) if data.is_dir() else []
    if found:
        raise BackupError(f"{data} is not empty ({', '.join(found[:4])}): restore into a new folder, or reset it first")
    _require_space(data.parent, sum((source / "data" / name).stat().st_size for name in manifest["files"]))
    data.mkdir(parents=True, exist_ok=True)
    (data / UNFINISHED).touch(mode=0o600)
    user = postgres.UNPRIVILEGED if os.geteuid() == 0 else None
    folders = {"postgres": postgres.place_data(data / "postgres", user)}
    for name, entry in manifest["files"].items():
        target = _place(data, folders, name)
        if _copy(source / "data" / name, target, int(entry["mode"], 8)) != entry["sha256"]:
            raise BackupError(f"{name} changed while it was restored")
    for name in manifest["folders"]:
        _place(data, folders, name).mkdir(parents=True, exist_ok=True)
    _give_to(folders["postgres"], user)
    (data / "keys").chmod(0o700)
    (data / UNFINISHED).unlink()
    return manifest


def check(source: Path) -> dict[str, Any]:
    """Returns the manifest of a backup whose every file is as it was written. Raises BackupError."""
    try:
        manifest = json.loads((source / MANIFEST).read_bytes())
        known = manifest["format"]
        files = manifest["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackupError(f"{source} is not a backup of an exchange: no readable {MANIFEST}") from error
    if known != FORMAT:
        raise BackupError(f"{source} has format {known}; this program reads format {FORMAT}")
    there = {path.relative_to(source / "data").as_posix() for path in _files(source / "data")}
    if there != files.keys():
        raise BackupError(f"{source}: {sorted(there ^ files.keys())[0]} is missing, or does not belong to the backup")
    for name, entry in files.items():
        if _digest(source / "data" / name) != entry["sha256"]:
            raise BackupError(f"{source}: {name} differs from what was written")
    return manifest


def _require_exchange(data: Path) -> None:
    # An empty `kafka` stands in every data folder that was started; a broker of one's own leaves it so.
    missing = [name for name in ("kafka", "postgres", "keys") if not any((data / name).glob("*"))]
    if missing:
        raise BackupError(
            f"{data} has no {missing[0]}: only an exchange with its own Kafka and PostgreSQL is backed up as a folder"
        )


def _is_running(data: Path) -> bool:
    return processes.read_pid_file(data / "run" / "supervisor.pid") is not None


@contextmanager
def _held(data: Path) -> Iterator[dict[str, str] | None]:
    """Holds a stopped exchange's folder, so that nothing starts in it; yields the addresses of one that runs.

    Raises AlreadyUp for one that is neither ready nor stopped.
    """
    run = data / "run"
    run.mkdir(exist_ok=True)
    lock = os.open(run / "supervisor.lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        end_left_over(run)
        where = None
    except BlockingIOError:
        where = addresses(data)
        if where is None:
            raise AlreadyUp(data) from None
    try:
        yield where
    finally:
        os.close(lock)


def _size_of(data: Path) -> int:
    """Returns how many bytes lie there; what goes meanwhile needs no room."""
    size = 0
    for path in _files(data):
        with suppress(FileNotFoundError):
            size += path.stat().st_size
    return size


def _mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _entry(path: Path) -> dict[str, str]:
    return {"sha256": _digest(path), "mode": f"{_mode_of(path):03o}"}


def _files(folder: Path) -> list[Path]:
    found = []
    for top in sorted(folder.iterdir()) if folder.is_dir() else ():
        if top.name not in NOT_KEPT:
            found += [path for path in (sorted(top.rglob("*")) if top.is_dir() else [top]) if path.is_file()]
    return [path for path in found if path.name != LOCK_FILE]


def _empty_folders(folder: Path) -> list[str]:
    found = []
    for top in folder.iterdir():
        if top.is_dir() and top.name not in NOT_KEPT:
            found += [p.relative_to(folder).as_posix() for p in top.rglob("*") if p.is_dir() and not any(p.iterdir())]
    return found


def _place(data: Path, folders: dict[str, Path], name: str) -> Path:
    top, _, rest = name.partition("/")
    return folders[top] / rest if top in folders else data / name


def _copy(source: Path, target: Path, mode: int) -> str:
    """Copies a file durably and returns its SHA-256; it is never readable by others than the original was."""
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    digest = sha256()
    with (
        source.open("rb") as reader,
        os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode & 0o700), "wb") as writer,
    ):
        while chunk := reader.read(CHUNK_BYTES):
            digest.update(chunk)
            writer.write(chunk)
        writer.flush()
        os.fsync(writer.fileno())
    target.chmod(mode)
    return digest.hexdigest()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        digest = sha256()
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _write_whole(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _require_space(folder: Path, needed: int) -> None:
    if shutil.disk_usage(folder).free < needed + FREE_BYTES_BEYOND:
        raise BackupError(f"{folder} has no room for {needed // 1_000_000} MB")


def _give_to(folder: Path, user: str | None) -> None:
    """Gives PostgreSQL's folder to the user who runs the server; it refuses a folder that others can read."""
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            path.chmod(0o700)
        if user is not None:
            os.chown(path, processes.user_number(user), processes.primary_group(user))
