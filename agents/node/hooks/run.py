"""Runs one hook as a process that cannot hurt the agent: bounded in time, in output, and in what it leaves behind.

A hook has ended when its own process has, whoever else still holds its pipes. Of what it prints only the end is kept.
Between the agent and the hook stands a keeper (`keeper.py`), which stays while anything runs that the hook started.
"""

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from agents.node.processes import RUN_VARIABLE, Family, ProcessTable

OUTPUT_BYTES_MAX = 64 * 1024
COMPLAINT_BYTES_MAX = 4 * 1024
READ_BYTES = 64 * 1024
POLL_S = 0.02
PAUSE_S_MIN = 0.0005
REAP_S = 5
NOT_STARTED = "the hook could not be started"
# What a hook left behind may go on writing; a pipe's worth of it is read after the hook's end, and no more.
READS_AT_END_MAX = 32
KEEPER = str(Path(__file__).with_name("keeper.py"))
# Keepers that outlive their hook; each is looked at when the next hook runs, so that none stays a zombie for long.
_running: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True)
class HookEnd:
    """How a hook ended: `problem` is empty where it exited with 0; `output` and `complaint` are the last bytes of both.

    `started` are the processes that it started, as (pid, start time in clock ticks), itself included; `keeper` is the
    one above all of them, where something was left running.
    """

    problem: str
    output: bytes = b""
    complaint: bytes = b""
    started: tuple[tuple[int, int], ...] = ()
    keeper: tuple[int, int] | None = None


class _Tail:
    """A pipe, and the last bytes that came through it."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self.read_end, self.write_end = os.pipe()
        os.set_blocking(self.read_end, False)
        self.content = bytearray()

    def take(self) -> bool:
        """Take what is there; tell whether anything was."""
        try:
            chunk = os.read(self.read_end, READ_BYTES)
        except BlockingIOError:
            return False
        self.content += chunk
        del self.content[: -self._bytes_max]
        return bool(chunk)


@contextmanager
def _tails(*bytes_max: int) -> Iterator[list[_Tail]]:
    tails: list[_Tail] = []
    try:
        tails += map(_Tail, bytes_max)
        yield tails
    finally:
        for tail in tails:
            os.close(tail.read_end)


async def run_hook(
    command: tuple[str, ...], timeout_s: float, stdin: bytes, variables: dict[str, str], table: ProcessTable
) -> HookEnd:
    """Run a command to its end, or to the time limit, at which everything that it started is killed."""
    run_id = secrets.token_hex(16)
    _running[:] = [keeper for keeper in _running if keeper.poll() is None]
    with tempfile.TemporaryFile() as given, _tails(OUTPUT_BYTES_MAX, COMPLAINT_BYTES_MAX, READ_BYTES) as tails:
        output, complaint, report = tails
        given.write(stdin)
        given.seek(0)
        try:
            keeper = subprocess.Popen(
                (sys.executable, "-I", "-S", KEEPER, str(report.write_end), *command),
                stdin=given,
                stdout=output.write_end,
                stderr=complaint.write_end,
                pass_fds=(report.write_end,),
                env=os.environ | variables | {RUN_VARIABLE: run_id},
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            return HookEnd(f"{NOT_STARTED}: {error}")
        finally:
            for tail in tails:
                os.close(tail.write_end)
        _running.append(keeper)
        family = Family(keeper.pid, run_id, table)
        is_over = False
        try:
            is_over = await _until_end(keeper, timeout_s, family, tails)
        finally:
            if not is_over:
                _kill(keeper, family)
        if not is_over:
            return HookEnd(f"the hook took longer than {timeout_s} s")
        family.look()
        family.look_for_left_behind()
        word, _, about = report.content.decode(errors="replace").partition(" ")
        problem = f"{NOT_STARTED}: {about}" if word == "refused" else _problem(int(about) if word else keeper.wait())
        above = next((place for place in family.known if place[0] == keeper.pid), None)
        started = tuple(place for place in family.known if place != above)
        kept = above if word == "left" else None
        return HookEnd(problem, bytes(output.content), bytes(complaint.content), started, kept)


async def _until_end(keeper: subprocess.Popen[bytes], timeout_s: float, family: Family, tails: Sequence[_Tail]) -> bool:
    """Follow the hook and empty its pipes, so that it never waits for us; tell whether it ended in time."""
    deadline, pause_s, report = time.monotonic() + timeout_s, 0.0, tails[-1]
    while not report.content and keeper.poll() is None:
        family.look()
        if time.monotonic() >= deadline:
            return False
        look_again_at = time.monotonic() + POLL_S
        while time.monotonic() < look_again_at and not report.content:
            said_more = [tail.take() for tail in tails]
            pause_s = 0.0 if any(said_more) else min(2 * pause_s + PAUSE_S_MIN, POLL_S)
            await asyncio.sleep(pause_s)
    for tail in tails:
        reads = 0
        while reads < READS_AT_END_MAX and tail.take():
            reads += 1
    return True


def _kill(keeper: subprocess.Popen[bytes], family: Family) -> None:
    """Kill the family until none is left: what is starting another just now is seen only afterwards.

    The keeper goes last: until then orphans come to it, and are found below it.
    """
    deadline = time.monotonic() + REAP_S
    while True:
        family.look()
        family.look_for_left_behind()
        living = [pid for pid in family.living() if pid != keeper.pid]
        if not living or time.monotonic() >= deadline:
            break
        for pid in living:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(PAUSE_S_MIN)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(keeper.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        keeper.wait(max(0.0, deadline - time.monotonic()))


def _problem(status: int) -> str:
    if status >= 0:
        return f"exit status {status}" if status else ""
    with suppress(ValueError):
        return f"ended by {signal.Signals(-status).name}"
    return f"ended by signal {-status}"
