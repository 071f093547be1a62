"""Where things lie on this machine: the data folder, the per-user cache, and folders that another user can read."""

import os
import shutil
import stat
from pathlib import Path

UNFINISHED = "restore-unfinished"  # the file that stands in a data folder while a backup is put back
PRIVATE = ("kafka", "snapshots", "folds", "logs")  # folders of a data folder that are for its owner alone
REPOSITORY = Path(__file__).resolve().parent.parent


class PlaceNotSafe(RuntimeError):
    """A folder that root would share belongs to somebody else."""


class HalfRestored(RuntimeError):
    """A restore into this data folder was cut off."""

    def __init__(self, data: Path) -> None:
        super().__init__(f"{data} was left half restored: `hourbook reset`, then restore again")


def require_whole(data: Path) -> None:
    """Raise HalfRestored for a data folder in which a restore was cut off."""
    if (data / UNFINISHED).exists():
        raise HalfRestored(data)


def close_to_others(data: Path) -> None:
    """Keep other users of the machine from the log of orders, its snapshots, and what programs say of their work."""
    for name in PRIVATE:
        (data / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        (data / name).chmod(0o700)  # one from before, too


def data_dir() -> Path:
    """The folder that holds everything the exchange keeps (HOURBOOK_DATA, default `.hourbook` in the checkout)."""
    return Path(os.environ.get("HOURBOOK_DATA") or REPOSITORY / ".hourbook").resolve()


def cache_dir() -> Path:
    """The per-user folder for what is fetched once (HOURBOOK_CACHE, default `~/.cache/hourbook`)."""
    return Path(os.environ.get("HOURBOOK_CACHE") or Path.home() / ".cache" / "hourbook").resolve()


def readable_by_all(path: Path) -> bool:
    """Whether an unprivileged user can walk down to the path and read it."""
    if not stat.S_IMODE(path.stat().st_mode) & stat.S_IROTH:
        return False
    return all(
        stat.S_IMODE(parent.stat().st_mode) & stat.S_IXOTH for parent in [path, *path.parents] if parent.is_dir()
    )


def shared_place() -> Path:
    """A folder of root's that an unprivileged server process can walk into."""
    place = Path("/var/tmp/hourbook")
    place.mkdir(mode=0o755, exist_ok=True)
    status = place.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise PlaceNotSafe(f"{place} exists and is not a folder of this user's; remove it or set HOURBOOK_DATA")
    return place


def copy_tree_once(source: Path, target: Path) -> Path:
    """Copy a tree to the target unless it is there, so that the target is either whole or missing."""
    if not target.exists():
        partial = target.with_name(f"{target.name}.{os.getpid()}")
        shutil.copytree(source, partial, symlinks=True)
        try:
            partial.rename(target)
        except OSError:
            shutil.rmtree(partial)  # another process was first
            if not target.exists():
                raise
    return target
