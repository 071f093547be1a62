"""Whose a process on a GPU is: a buyer's, where the operator's hook started it under the lease's id."""

from pathlib import Path

LEASE_VARIABLE = "HOURBOOK_LEASE_ID"


def lease_of_process(pid: int, processes: Path = Path("/proc")) -> str | None:
    """Returns the lease id in a process's environment; None for a stranger, or a process that may not be looked at."""
    try:
        environment = (processes / str(pid) / "environ").read_bytes()
    except OSError:
        return None
    for entry in environment.split(b"\0"):
        name, _, value = entry.partition(b"=")
        if name.decode(errors="replace") == LEASE_VARIABLE:
            return value.decode(errors="replace") or None
    return None
