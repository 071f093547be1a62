"""Child processes: how one is described, started, stopped, and told from a stranger that got its number."""

import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event

import psutil

PR_SET_PDEATHSIG = 1
LINE_MAX = 1_000
SERVICE = re.compile(r"services\.[a-z_]+$")


class DidNotStart(RuntimeError):
    """A program ended, or was not ready in time; the message shows the end of its log."""


class Interrupted(RuntimeError):
    """The exchange was asked to stop while it was still starting."""


@dataclass(frozen=True)
class Program:
    """What to run. `ready` answers whether the running program can be used; `user` is for servers that refuse root.

    `before_start` clears the way for each start, the first one and those after a crash. `dies_with_parent` (Linux)
    sends `stop_signal` when the thread that started the program ends, however it ends.
    """

    name: str
    command: list[str]
    log: Path
    ready: Callable[[], bool]
    environment: dict[str, str] = field(default_factory=dict)
    folder: Path | None = None
    user: str | None = None
    stop_signal: int = signal.SIGTERM
    stop_within_s: float = 15.0
    dies_with_parent: bool = False
    before_start: Callable[[], None] | None = None


def start(program: Program) -> subprocess.Popen[bytes]:
    """Start the program in a session of its own, so that the terminal's Ctrl-C reaches only who started it."""
    identity = {"user": program.user, "group": primary_group(program.user), "extra_groups": []} if program.user else {}
    program.log.parent.mkdir(parents=True, exist_ok=True)
    if program.before_start is not None:
        program.before_start()
    with program.log.open("ab") as output:
        return subprocess.Popen(
            program.command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=program.folder,
            env={**os.environ, **program.environment},
            start_new_session=True,
            preexec_fn=partial(follow_parent, program.stop_signal) if program.dies_with_parent else None,
            **identity,
        )


def follow_parent(number: int) -> None:
    """Ask the kernel, in the child before it becomes the program, for this signal when the parent is gone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)


def user_number(user: str) -> int:
    """The number of a user."""
    import pwd

    return pwd.getpwnam(user).pw_uid


def primary_group(user: str) -> int:
    """The number of the user's own group."""
    import pwd

    return pwd.getpwnam(user).pw_gid


def wait_ready(
    program: Program, process: subprocess.Popen[bytes], within_s: float = 60.0, stopping: Event | None = None
) -> None:
    """Wait until the program is ready. Raises DidNotStart when it ends or time is over, Interrupted on `stopping`."""
    deadline = time.monotonic() + within_s
    pause = stopping or Event()
    while not program.ready():
        if process.poll() is not None:
            raise DidNotStart(f"{program.name} ended with status {process.returncode}:\n{end_of(program.log)}")
        if time.monotonic() > deadline:
            raise DidNotStart(f"{program.name} was not ready within {within_s:.0f} s:\n{end_of(program.log)}")
        if pause.wait(0.03):
            raise Interrupted


def stop(program: Program, process: subprocess.Popen[bytes]) -> None:
    """Ask the program to end, and end it when it does not in time."""
    if process.poll() is not None:
        return
    process.send_signal(program.stop_signal)
    try:
        process.wait(program.stop_within_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def belongs_to(process: psutil.Process, data: Path) -> bool:
    """Whether a process is a server or service of this data folder."""
    try:
        words = process.cmdline()
        if any(str(data) in word for word in words):
            return True
        return any(SERVICE.match(word) for word in words) and process.environ().get("HOURBOOK_DATA") == str(data)
    except (psutil.Error, OSError):
        return False


def end_all(left: list[psutil.Process], number: int = signal.SIGTERM, within_s: float = 10.0) -> None:
    """Ends processes, those that do not go in time by force, and returns when they are gone."""
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
    for process in psutil.wait_procs(left, timeout=within_s)[1]:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=within_s)


def bound_log(log: Path, bytes_max: int, kept: int) -> None:
    """Sets a log that has grown too large aside as `.1`, the one before as `.2` and so on, and empties it.

    The program goes on writing to the same open file, whose end every write looks for.
    """
    if not log.exists() or log.stat().st_size <= bytes_max:
        return
    for number in range(kept, 1, -1):
        older = log.with_name(f"{log.name}.{number - 1}")
        if older.exists():
            older.replace(log.with_name(f"{log.name}.{number}"))
    shutil.copyfile(log, log.with_name(f"{log.name}.1"))
    os.truncate(log, 0)


def end_of(log: Path, lines: int = 15) -> str:
    """The last lines of a log file."""
    if not log.exists():
        return "(no log)"
    shown = log.read_text(errors="replace").splitlines()[-lines:]
    return "\n".join(line if len(line) <= LINE_MAX else f"{line[:LINE_MAX]} …" for line in shown)


def write_pid_file(path: Path, pid: int) -> None:
    """Note a process by its number and the moment it began, since numbers are used again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{pid} {psutil.Process(pid).create_time()}\n")


def read_pid_file(path: Path) -> psutil.Process | None:
    """The process that the file names, if it is the same one and still runs."""
    try:
        pid, began = path.read_text().split()
        process = psutil.Process(int(pid))
        same = abs(process.create_time() - float(began)) < 0.05 and process.status() != psutil.STATUS_ZOMBIE
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        return None
    return process if same else None
