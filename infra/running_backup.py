"""A copy of an exchange that runs: each part as a crash would have left it, and none behind what was made from it.

The order makes the parts fit (docs/decisions/0039): PostgreSQL and the engine's snapshots come first, since both may be
older than Kafka; then what services told of the commands, then the commands, and last what services made commands from.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from infra import postgres
from infra.postgres import OWNER, PostgresPlan
from schemas.topics import COMMANDS, KEYS_EVENTS, LISTINGS_RECORDS, METER_REPORTS

COPIED_LAST = tuple(topic.name for topic in (COMMANDS, METER_REPORTS, LISTINGS_RECORDS, KEYS_EVENTS))
IN_ORDER = ("snapshots", "postgres", "kafka")
# Kafka makes these anew at a start that no clean stop came before, from the segments alone.
MADE_ANEW = (".index", ".timeindex", ".txnindex", ".snapshot")
ON_THEIR_WAY = (".deleted", ".cleaned", ".swap")
CHECKPOINTS = ("recovery-point-offset-checkpoint", "replication-offset-checkpoint", "cleaner-offset-checkpoint")
TRIES = 3

Copy = Callable[[Path, Path], object]


class CopyFailed(RuntimeError):
    """No whole copy could be made of what runs; the message is one line that says why."""


def copy_running(data: Path, target: Path, addresses: dict[str, str], copy: Copy, left_out: Iterable[str]) -> None:
    """Copies a running exchange's folder, file by file with `copy`. Raises CopyFailed."""
    servers = _servers(data)
    for top in sorted(data.iterdir()):
        if top.name not in (*IN_ORDER, *left_out):
            _copy_all(top, target / top.name, copy)
    _copy_all(data / "snapshots", target / "snapshots", copy)
    _copy_postgres(data, target / "postgres", addresses["postgres"])
    _copy_kafka(data / "kafka", target / "kafka", copy)
    if _servers(data) != servers:
        raise CopyFailed("Kafka or PostgreSQL ended meanwhile, so the copy may be torn: back up again")


def in_order(partitions: Iterable[Path]) -> list[Path]:
    """Returns folders of partitions in the order in which they are to be copied."""

    def place(partition: Path) -> tuple[int, str]:
        topic = partition.name.rpartition("-")[0]
        return (COPIED_LAST.index(topic) + 1 if topic in COPIED_LAST else 0, partition.name)

    return sorted(partitions, key=place)


def _servers(data: Path) -> list[str]:
    return [(data / "run" / f"{name}.pid").read_text() for name in ("supervisor", "kafka", "postgres")]


def _copy_all(source: Path, target: Path, copy: Copy) -> None:
    """Copies a file or a tree; a file that goes meanwhile, as an old snapshot does, is passed over."""
    for path in _files(source):
        try:
            copy(path, target / path.relative_to(source) if path != source else target)
        except FileNotFoundError:
            continue


def _files(source: Path) -> Iterator[Path]:
    yield from (each for each in sorted(source.rglob("*")) if each.is_file()) if source.is_dir() else (source,)


def _copy_postgres(data: Path, target: Path, address: str) -> None:
    """Has PostgreSQL copy itself as it is at the end of the copy, with the WAL that a start needs."""
    port = urlsplit(address if "//" in address else f"//{address}").port
    plan = PostgresPlan(data / "postgres", data / "logs", port, data / "keys")
    program = postgres.binaries_for(postgres.UNPRIVILEGED if os.geteuid() == 0 else None) / "pg_basebackup"
    login = ["--host", postgres.LOOPBACK, "--port", str(port), "--username", OWNER, "--no-password"]
    command = [str(program), *login, "--pgdata", str(target), "--wal-method=stream", "--checkpoint=fast"]
    done = subprocess.run(
        command, env=os.environ | {"PGPASSWORD": plan.password()}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise CopyFailed(f"PostgreSQL was not copied: {done.stderr.strip().splitlines()[-1:]}")


def _copy_kafka(source: Path, target: Path, copy: Copy) -> None:
    for path in sorted(source.iterdir()):
        if path.is_file():
            copy(path, target / path.name)
    log = source / "log"
    for path in sorted(log.iterdir()):
        if path.is_file() and path.name not in CHECKPOINTS and not path.name.startswith("."):
            copy(path, target / "log" / path.name)
    for partition in in_order(path for path in log.iterdir() if path.is_dir()):
        _copy_partition(partition, target / "log" / partition.name, copy)


def _copy_partition(source: Path, target: Path, copy: Copy) -> None:
    """Copies a partition as far as it is written; where a segment was replaced meanwhile, once more."""
    for _ in range(TRIES):
        try:
            for path in sorted(source.iterdir()):
                if path.is_file() and path.suffix not in (*MADE_ANEW, *ON_THEIR_WAY):
                    copy(path, target / path.name)
            return
        except FileNotFoundError:
            shutil.rmtree(target, ignore_errors=True)
    raise CopyFailed(f"{source.name} changed under the copy {TRIES} times")
