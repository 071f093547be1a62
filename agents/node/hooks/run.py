"""Runs one hook as a process that cannot hurt the agent: bounded in time, in output, and in what it leaves behind.

A hook has ended when its own process has, whoever else still holds its pipes. Of what it prints only the end is kept.
"""

import asyncio
import os
import secrets
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from agents.node.processes import RUN_VARIABLE, Family, ProcessTable

OUTPUT_BYTES_MAX = 64 * 1024
COMPLAINT_BYTES_MAX = 4 * 1024
READ_BYTES = 64 * 1024
POLL_S = 0.02
PAUSE_S_MIN = 0.0005
REAP_S = 5
# What a hook left behind may go on writing; a pipe's worth of it is read after the hook's end, and no more.
READS_AT_END_MAX = 32


@dataclass(frozen=True)
class HookEnd:
    """How a hook ended: `problem` is empty where it exited with 0; `output` and `complaint` are the last bytes of both.

    `started` are the processes that it started, as (pid, start time in clock ticks), itself included.
    """

    problem: str
    output: bytes = b""
    complaint: bytes = b""
    started: tuple[tuple[int, int], ...] = ()


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
    with tempfile.TemporaryFile() as given, _tails(OUTPUT_BYTES_MAX, COMPLAINT_BYTES_MAX) as (output, complaint):
        given.write(stdin)
        given.seek(0)
        try:
            process = subprocess.Popen(
                command,
                stdin=given,
                stdout=output.write_end,
                stderr=complaint.write_end,
                env=os.environ | variables | {RUN_VARIABLE: run_id},
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            return HookEnd(f"the hook could not be started: {error}")
        finally:
            os.close(output.write_end)
            os.close(complaint.write_end)
        family = Family(process.pid, run_id, table)
        try:
            in_time = await _until_end(process, timeout_s, family, (output, complaint))
        finally:
            if process.returncode is None:
                _kill(process, family)
        if not in_time:
            return HookEnd(f"the hook took longer than {timeout_s} s")
        family.look_for_left_behind()
        return HookEnd(_problem(process.returncode), bytes(output.content), bytes(complaint.content), family.known)


async def _until_end(process: subprocess.Popen, timeout_s: float, family: Family, tails: tuple[_Tail, ...]) -> bool:
    """Follow the process and empty its pipes, so that it never waits for us; tell whether it ended in time."""
    deadline, pause_s = time.monotonic() + timeout_s, 0.0
    while process.poll() is None:
        family.look()
        if time.monotonic() >= deadline:
            return False
        look_again_at = time.monotonic() + POLL_S
        while time.monotonic() < look_again_at:
            said_more = [tail.take() for tail in tails]
            pause_s = 0.0 if any(said_more) else min(2 * pause_s + PAUSE_S_MIN, POLL_S)
            await asyncio.sleep(pause_s)
    for tail in tails:
        reads = 0
        while reads < READS_AT_END_MAX and tail.take():
            reads += 1
    return True


def _kill(process: subprocess.Popen, family: Family) -> None:
    """Kill the process and its family until none is left: what is starting another just now is seen only afterwards."""
    deadline = time.monotonic() + REAP_S
    while True:
        family.look()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        family.look_for_left_behind()
        living = family.living()
        if not living or time.monotonic() >= deadline:
            break
        for pid in living:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(PAUSE_S_MIN)
    with suppress(subprocess.TimeoutExpired):
        process.wait(max(0.0, deadline - time.monotonic()))


def _problem(status: int) -> str:
    if status < 0:
        with suppress(ValueError):
            return f"ended by {signal.Signals(-status).name}"
    return f"exit status {status}" if status else ""
