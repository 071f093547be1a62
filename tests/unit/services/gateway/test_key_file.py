"""The file of keys' records: what was kept is read again, whatever was cut off; a full disk ends nothing."""

from pathlib import Path

from structlog.testing import capture_logs

from clients.http import new_credentials
from services.gateway.keys.file import KeyFile
from tests.fixtures.keys import first_key

RECORDS = [first_key(new_credentials(name), name) for name in ("alice", "bob", "carol")]


async def test_records_are_kept_once_and_read_in_their_order(tmp_path: Path):
    path = tmp_path / "records.jsonl"
    file = KeyFile(path)
    assert await file.read() == []
    await file.keep(RECORDS[:2])
    await file.keep(RECORDS)
    assert await KeyFile(path).read() == RECORDS
    assert path.read_bytes() == b"".join(record.canonical() + b"\n" for record in RECORDS)
    assert path.stat().st_mode & 0o777 == 0o600


async def test_a_line_that_was_cut_off_costs_that_line_alone(tmp_path: Path):
    path = tmp_path / "records.jsonl"
    await KeyFile(path).keep(RECORDS[:2])
    path.write_bytes(path.read_bytes()[:-20])
    file = KeyFile(path)
    assert await file.read() == RECORDS[:1]
    await file.keep(RECORDS)
    assert await KeyFile(path).read() == RECORDS


async def test_a_place_that_cannot_be_written_is_said_and_ends_nothing(tmp_path: Path):
    file = KeyFile(tmp_path)  # a folder
    with capture_logs() as logs:
        assert await file.read() == []
        await file.keep(RECORDS)
    said = [(each["log_level"], each["event"]) for each in logs]
    assert said == [("error", f"the file of keys cannot be {done}") for done in ("read", "written")]
