"""A command log that is gone, another exchange's, or too short is noticed before anything starts."""

from pathlib import Path

import pytest

from infra.identity import WrongLog, check_log, note_log
from tests.unit.infra.test_backup import batch

LOG = "kafka/log/commands.0-0/00000000000000000000.log"


def write(data: Path, content: bytes) -> None:
    (data / LOG).parent.mkdir(parents=True, exist_ok=True)
    (data / LOG).write_bytes(content)


def refusal(data: Path) -> str:
    with pytest.raises(WrongLog) as error:
        check_log(data)
    return str(error.value)


def test_a_new_folder_and_one_whose_log_has_grown_are_right(tmp_path: Path):
    check_log(tmp_path)
    note_log(tmp_path)
    write(tmp_path, b"")
    check_log(tmp_path)
    note_log(tmp_path)
    write(tmp_path, batch(0, 1))
    check_log(tmp_path)
    note_log(tmp_path)
    write(tmp_path, batch(0, 1) + batch(1, 7))
    check_log(tmp_path)


def test_a_log_that_is_gone_or_that_begins_otherwise_is_refused(tmp_path: Path):
    write(tmp_path, batch(0, 1))
    note_log(tmp_path)
    page = "nothing was started, see docs/runbooks/kafka-lost.md"
    write(tmp_path, batch(0, 2))
    assert refusal(tmp_path) == f"the command log is another exchange's; {page}"
    write(tmp_path, b"")
    assert refusal(tmp_path) == f"the command log is gone; {page}"
    (tmp_path / LOG).unlink()
    assert refusal(tmp_path) == f"the command log is gone; {page}"


def test_a_log_that_ends_before_what_the_engine_has_read_is_refused(tmp_path: Path):
    write(tmp_path, batch(0, 1) + batch(1, 4))
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "snapshots" / f"engine-{5:016}-{9:016}.snapshot").touch()
    check_log(tmp_path)
    (tmp_path / "snapshots" / f"engine-{8:016}-{12:016}.snapshot").touch()
    assert refusal(tmp_path).startswith("the command log ends at record 5, the engine has read up to 8;")
