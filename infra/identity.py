"""Which command log a data folder belongs to: a lost, shorter or foreign one is noticed before anything starts."""

from hashlib import sha256
from pathlib import Path

from infra import kafka_logs
from infra.processes import DidNotStart
from schemas.topics import COMMANDS
from services.kit.operators import KAFKA_LOST
from services.matching.snapshots import list_snapshots

PARTITION = f"{COMMANDS.name}-0"


class WrongLog(DidNotStart):
    """The log in the data folder is not the one that everything else there was made from."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}; nothing was started, see {KAFKA_LOST}")


def check_log(data: Path) -> None:
    """Raises WrongLog for an embedded Kafka that is not the data folder's; a new folder has nothing to compare."""
    log, known = data / "kafka" / "log", _file(data)
    first = kafka_logs.first_batch(log / PARTITION)
    if known.exists() and first is None:
        raise WrongLog("the command log is gone")
    if known.exists() and known.read_text().strip() != sha256(first).hexdigest():
        raise WrongLog("the command log is another exchange's")
    end = kafka_logs.ends(log).get(PARTITION, 0) if log.is_dir() else 0
    for snapshot in list_snapshots(data / "snapshots")[:1]:
        if snapshot.next_offset > end:
            raise WrongLog(f"the command log ends at record {end}, the engine has read up to {snapshot.next_offset}")


def note_log(data: Path) -> None:
    """Notes which log the data folder has, once it has one."""
    first = kafka_logs.first_batch(data / "kafka" / "log" / PARTITION)
    if first is not None and not _file(data).exists():
        partial = _file(data).with_suffix(".partial")
        partial.write_text(f"{sha256(first).hexdigest()}\n")
        partial.rename(_file(data))


def _file(data: Path) -> Path:
    return data / "log-identity"
