"""Snapshots on disk: the newest usable one is taken, and none is renamed before its events are safe."""

import time
from pathlib import Path

import pytest
import structlog

from infra.genesis import genesis_command
from infra.keys import make_keys
from matching_engine import Engine
from services.matching.domain import LogLost
from services.matching.snapshots import SnapshotFile, SnapshotWriter, list_snapshots, load_newest


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    make_keys(tmp_path / "keys")
    engine = Engine()
    engine.apply([(0, 1_000, genesis_command(tmp_path / "keys").canonical())])
    return engine


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "snapshots"


def go_on(engine: Engine, records: int) -> None:
    """Each record is refused, which is one event."""
    engine.apply([(offset, 2_000, b"no command") for offset in range(engine.next_offset, engine.next_offset + records)])


def finish(writer: SnapshotWriter, acknowledged_seq: int) -> SnapshotFile | None:
    """Gives the child time to end, then asks once more."""
    for _ in range(500):
        if done := writer.poll(acknowledged_seq):
            return done
        if not writer.writing:
            return None
        time.sleep(0.01)
    raise AssertionError("the child did not end")


def test_a_forked_child_writes_the_engine_as_it_was_at_the_fork(engine, folder):
    writer, before = SnapshotWriter(folder, 3), engine.snapshot()
    writer.start(engine)
    go_on(engine, 5)
    done = finish(writer, engine.seq)
    assert (done.next_offset, done.seq, writer.busy) == (1, 2, False)
    loaded = load_newest(folder, 6, 7)
    assert loaded.snapshot() == before
    go_on(loaded, 5)
    assert loaded.snapshot() == engine.snapshot()


def test_a_snapshot_is_renamed_only_when_its_events_are_acknowledged(engine, folder):
    writer = SnapshotWriter(folder, 3)
    writer.start(engine)
    assert finish(writer, engine.seq - 1) is None
    assert (writer.busy, list_snapshots(folder)) == (True, [])
    assert writer.poll(engine.seq).seq == engine.seq
    assert [snapshot.seq for snapshot in list_snapshots(folder)] == [engine.seq]


def test_a_damaged_snapshot_is_named_and_the_one_before_it_taken(engine, folder):
    writer = SnapshotWriter(folder, 3)
    writer.write_now(engine)
    older = engine.snapshot()
    go_on(engine, 3)
    newest = writer.write_now(engine).path
    raw = bytearray(newest.read_bytes())
    raw[len(raw) // 2] ^= 1
    newest.write_bytes(raw)
    with structlog.testing.capture_logs() as logs:
        assert load_newest(folder, 100, 100).snapshot() == older
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [
        ("snapshot cannot be used", "error"),
        ("snapshot loaded", "info"),
    ]
    assert newest.exists()


OLD_VERSION = (
    b"hourbook-snapshot-1 44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a\n"
    b'{"engine":"reference","sha256":"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","version":1}\n{}'
)


@pytest.mark.parametrize("has_older", [True, False])
def test_a_snapshot_of_version_1_is_named_and_the_one_before_it_taken_or_the_first_record(engine, folder, has_older):
    folder.mkdir()
    if has_older:
        SnapshotWriter(folder, 3).write_now(engine)
    (folder / "engine-0000000000000009-0000000000000009.snapshot").write_bytes(OLD_VERSION)
    with structlog.testing.capture_logs() as logs:
        loaded = load_newest(folder, 100, 100)
    assert loaded.snapshot() == (engine if has_older else Engine()).snapshot()
    assert logs[0]["error"] == "snapshot version 1 is not supported, only version 6"


def test_a_command_log_that_ends_before_a_snapshot_is_refused_since_acknowledged_commands_are_gone(engine, folder):
    SnapshotWriter(folder, 3).write_now(engine)
    with pytest.raises(LogLost, match=r"^the command log ends at record 0, engine-0+1-0+\d\.snapshot goes further$"):
        load_newest(folder, 0, 100)


def test_a_snapshot_beyond_the_event_log_is_passed_over(engine, folder):
    writer = SnapshotWriter(folder, 3)
    writer.write_now(engine)
    go_on(engine, 3)
    writer.write_now(engine)
    assert load_newest(folder, 100, 4).next_offset == 1


def test_without_a_usable_snapshot_the_engine_starts_at_the_first_record(folder):
    folder.mkdir()
    (folder / "engine-0000000000000009-0000000000000009.snapshot").write_bytes(b"")
    assert load_newest(folder, 100, 100).next_offset == 0


def test_a_file_that_holds_another_state_than_its_name_says_is_passed_over(engine, folder):
    path = SnapshotWriter(folder, 3).write_now(engine).path
    path.rename(folder / "engine-0000000000000007-0000000000000007.snapshot")
    assert load_newest(folder, 100, 100).next_offset == 0


def test_only_the_newest_snapshots_are_kept_and_leftovers_go_at_the_start(engine, folder):
    writer = SnapshotWriter(folder, 2)
    for _ in range(3):
        go_on(engine, 1)
        writer.write_now(engine)
    (folder / "engine-1-1.tmp").write_bytes(b"half")
    SnapshotWriter(folder, 2)
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        f"engine-{offset:016}-{offset + 1:016}.snapshot" for offset in (3, 4)
    )
