"""Backups: whole or not at all, private, and put back only where nothing is lost or mixed."""

import os
import shutil
import stat
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra import kafka_logs, postgres, processes
from infra.backup import MANIFEST, BackupError, back_up, holds_root_key, restore
from infra.places import UNFINISHED, HalfRestored, close_to_others
from infra.running_backup import in_order
from infra.supervisor import AlreadyUp, Supervisor
from tests.unit.infra.test_supervisor import settings


def batch(base: int, count: int) -> bytes:
    """A batch of Kafka's as far as its end can be read from it."""
    rest = struct.pack(">ibIhi", 0, 2, 0, 0, count - 1) + b"records"
    return struct.pack(">qi", base, len(rest)) + rest


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that an unprivileged user can walk into, as PostgreSQL needs it where we are root."""
    folder = Path(tempfile.mkdtemp(prefix="hourbook-backup-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def data(folder: Path) -> Path:
    data = folder / "data"
    contents = {
        "kafka/log/commands.0-0/00000000000000000000.log": batch(0, 3) + batch(3, 2) + batch(5, 9)[:-4],
        "kafka/log/events.0-0/00000000000000000040.log": b"",
        "postgres/PG_VERSION": b"18\n",
        "postgres/base/1/1259": bytes(3_000_000),
        "postgres/postmaster.pid": b"1\n",
        "keys/admin.ed25519": b"00" * 32,
        "root/root.ed25519": b"11" * 32,
        "run/exchange.json": b"{}",
        "logs/ledger.log": b"a line\n",
    }
    for name, content in contents.items():
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_bytes(content)
    (data / "postgres" / "pg_notify").mkdir()
    (data / "keys" / "admin.ed25519").chmod(0o600)
    return data


def tree(folder: Path) -> dict[str, bytes | None]:
    """Every file with its content, and every folder, as they lie there."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
        if path.relative_to(folder).parts[0] not in ("run", "logs")
    }


def test_a_backup_put_back_is_the_same_folder_with_the_same_modes(data: Path, folder: Path):
    before = tree(data)
    made = back_up(data, folder / "backup")
    assert made["ends"] == {"commands.0-0": 5, "events.0-0": 40}
    backup_mode = stat.S_IMODE((folder / "backup").stat().st_mode)
    key_mode = stat.S_IMODE((folder / "backup" / "data" / "keys" / "admin.ed25519").stat().st_mode)
    assert (backup_mode, key_mode) == (0o700, 0o600)
    assert restore(folder / "backup", folder / "again") == made
    for left_out in ("postgres/postmaster.pid", "root", "root/root.ed25519"):
        del before[left_out]
    assert (holds_root_key(data), holds_root_key(folder / "again")) == (True, False)
    assert tree(folder / "again") == before
    assert stat.S_IMODE((folder / "again" / "keys" / "admin.ed25519").stat().st_mode) == 0o600
    if os.geteuid() == 0:
        owner = processes.user_number(postgres.UNPRIVILEGED)
        assert {path.stat().st_uid for path in (folder / "again" / "postgres").rglob("*")} == {owner}


def test_nothing_is_backed_up_or_restored_while_the_exchange_starts(data: Path, folder: Path):
    back_up(data, folder / "before")
    supervisor = Supervisor(settings(data))
    supervisor.lock()
    try:
        with pytest.raises(AlreadyUp):
            back_up(data, folder / "backup")
        with pytest.raises(AlreadyUp):
            restore(folder / "before", data)
    finally:
        supervisor.stop()
    assert not (folder / "backup").exists()


def test_a_backup_goes_neither_over_another_nor_into_the_data_folder(data: Path, folder: Path):
    back_up(data, folder / "backup")
    with pytest.raises(BackupError, match="already exists"):
        back_up(data, folder / "backup")
    with pytest.raises(BackupError, match="inside the data folder"):
        back_up(data, data / "backup")


def test_a_folder_without_a_server_of_its_own_is_not_backed_up(data: Path, folder: Path):
    shutil.rmtree(data / "kafka")
    close_to_others(data)  # as each start does, whoever runs the broker
    with pytest.raises(BackupError, match="has no kafka"):
        back_up(data, folder / "backup")


def test_a_backup_with_a_bit_changed_a_file_more_or_a_file_less_is_refused_and_nothing_is_written(
    data: Path, folder: Path
):
    back_up(data, folder / "backup")
    table = folder / "backup" / "data" / "postgres" / "base" / "1" / "1259"
    content = table.read_bytes()
    table.write_bytes(b"\1" + content[1:])
    with pytest.raises(BackupError, match="base/1/1259 differs from what was written"):
        restore(folder / "backup", folder / "again")
    table.unlink()
    with pytest.raises(BackupError, match="1259 is missing, or does not belong to the backup"):
        restore(folder / "backup", folder / "again")
    table.write_bytes(content)
    (folder / "backup" / "data" / "keys" / "stranger").write_text("x")
    with pytest.raises(BackupError, match="stranger is missing, or does not belong to the backup"):
        restore(folder / "backup", folder / "again")
    assert not (folder / "again").exists()


def test_a_folder_that_is_no_backup_is_refused(data: Path, folder: Path):
    with pytest.raises(BackupError, match="is not a backup of an exchange"):
        restore(data, folder / "again")
    back_up(data, folder / "backup")
    manifest = folder / "backup" / MANIFEST
    manifest.write_text(manifest.read_text().replace('"format": 1', '"format": 9'))
    with pytest.raises(BackupError, match="has format 9; this program reads format 1"):
        restore(folder / "backup", folder / "again")


def test_a_foreign_or_partly_filled_data_folder_is_refused_and_left_as_it_is(data: Path, folder: Path):
    back_up(data, folder / "backup")
    before = tree(data)
    with pytest.raises(BackupError, match=r"is not empty \(kafka, keys, logs, postgres\)"):
        restore(folder / "backup", data)
    assert tree(data) == before
    foreign = folder / "foreign"
    foreign.mkdir()
    (foreign / "letter.txt").write_text("dear")
    with pytest.raises(BackupError, match=r"is not empty \(letter.txt\)"):
        restore(folder / "backup", foreign)


def test_an_exchange_does_not_start_in_a_folder_in_which_a_restore_was_cut_off(data: Path, folder: Path):
    back_up(data, folder / "backup")
    (data / UNFINISHED).touch()
    with pytest.raises(HalfRestored):
        Supervisor(settings(data)).lock()
    with pytest.raises(HalfRestored):
        restore(folder / "backup", data)
    with pytest.raises(HalfRestored):
        back_up(data, folder / "other")


def test_the_end_of_a_partition_is_read_from_its_last_segment(tmp_path: Path):
    partition = tmp_path / "meter.reports-2"
    partition.mkdir()
    (partition / "00000000000000000000.log").write_bytes(batch(0, 50))
    (partition / "00000000000000000050.log").write_bytes(batch(50, 1) + batch(51, 4))
    (tmp_path / "__consumer_offsets-0").mkdir()
    (tmp_path / "meta.properties").write_text("version=1")
    assert kafka_logs.ends(tmp_path) == {"meter.reports-2": 55}


def test_a_running_brokers_partitions_are_copied_before_what_they_were_made_from():
    names = ("keys.events-0", "meter.reports-3", "meter.reports-0", "commands.0-0", "events.0-0", "delivery.events-0")
    copied = [path.name for path in in_order(map(Path, (*names, "__cluster_metadata-0", "listings.records-0")))]
    assert copied == [
        "__cluster_metadata-0",
        "delivery.events-0",
        "events.0-0",
        "commands.0-0",
        "meter.reports-0",
        "meter.reports-3",
        "listings.records-0",
        "keys.events-0",
    ]
