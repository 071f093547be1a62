"""Runs a hook and stays above all that it leaves behind: `keeper.py FD COMMAND…`, a program of its own without imports
of ours, so that it stays small.

A process whose parent has ended goes to the nearest ancestor that reaps for it, else to the machine's first process,
where nobody can tell whose it was. A buyer's job that forks twice, on purpose or as daemons do, would leave the lease
by that. So this program reaps for what it started, for as long as there is anything, also without the agent.
To the pipe FD it writes one line: `refused` and the error where the hook could not be started, else its status behind
`left`, where something still runs, or behind `ended`.
"""

import ctypes
import os
import signal
import sys
from contextlib import suppress

PR_SET_CHILD_SUBREAPER = 36
# What Python ignores, and a hook should not be born ignoring.
RESTORED = [getattr(signal, name) for name in ("SIGPIPE", "SIGXFZ", "SIGXFSZ") if hasattr(signal, name)]


def become_reaper() -> None:
    """Makes orphans come to this process, where the kernel can do that; elsewhere they are lost as ever."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def send_line(pipe: int, line: str) -> None:
    """Writes the one line, unless the agent is gone."""
    with suppress(OSError):
        os.write(pipe, line.encode(errors="replace"))
    os.close(pipe)


def keep(pipe: int, command: list[str]) -> None:
    """Starts the hook, tells how it ended, and waits for everything else."""
    become_reaper()
    os.set_inheritable(pipe, False)
    try:
        hook = os.posix_spawnp(command[0], command, os.environ, setsigdef=RESTORED)
    except OSError as error:
        send_line(pipe, f"refused {error}")
        return
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    with suppress(ChildProcessError):
        while True:
            pid, status = os.wait()
            if pid == hook:
                send_line(pipe, f"{'left' if has_children() else 'ended'} {os.waitstatus_to_exitcode(status)}")


def has_children() -> bool:
    """Tells whether anything still runs below this process."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
        return True
    return False


if __name__ == "__main__":
    keep(int(sys.argv[1]), sys.argv[2:])
