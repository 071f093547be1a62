"""Sessions of the container hook: each is an `exec` in the lease's container."""

import asyncio
import contextlib
import fcntl
import json
import os
import pty
import struct
import termios
from collections.abc import Coroutine
from pathlib import Path

import asyncssh

from agents.node.hooks.engine import RUN_S, Engine
from agents.node.hooks.lease_folder import HookFailed
from agents.node.hooks.sandbox import NOT_SERVED, SFTP_SERVERS
from agents.node.hooks.server import SESSIONS_MAX, TOO_MANY, feed, finish, refuse
from agents.node.hooks.volume import VolumeWatch, deleted_bytes, folder_bytes
from agents.node.processes import Evidence, ProcessTable, in_container

HOME = "/home/gpu"
LOGIN = "if command -v bash >/dev/null 2>&1; then exec bash -l; else exec sh -l; fi"
SCRIPT = f"exec >>{HOME}/start.log 2>&1; exec sh -s"
NO_SFTP = "this image has no sftp-server; install one in it, or use scp -O, rsync, or tar over ssh"
SFTP = "; ".join(
    [
        *(f"[ -x {path} ] && exec {path}" for path in SFTP_SERVERS),
        f"echo 'hourbook: {NO_SFTP}' >&2",
        f"exit {NOT_SERVED}",
    ]
)


class ContainerSessions:
    """Runs each session as a process in the lease's container."""

    def __init__(self, engine: Engine, container: str, volume_bytes_max: int) -> None:
        self._engine, self._container, self._volume_bytes_max = engine, container, volume_bytes_max
        self._count, self._ended_why = 0, ""

    async def serve(self, process: asyncssh.SSHServerProcess) -> None:
        """Run one session to its end."""
        if process.subsystem not in (None, "sftp"):
            return refuse(process, f"there is no subsystem {process.subsystem}")
        if self._count >= SESSIONS_MAX:
            return refuse(process, TOO_MANY)
        self._count += 1
        try:
            await asyncio.to_thread(self._see_that_it_runs)
            await self._serve(process, SFTP if process.subsystem else process.command or LOGIN)
        except HookFailed as reason:
            refuse(process, str(reason))
        finally:
            self._count -= 1
        return None

    async def _serve(self, process: asyncssh.SSHServerProcess, command: str) -> None:
        kind = process.get_terminal_type()
        inside = ["sh", "-c", command]
        if kind:
            ours, theirs = pty.openpty()
            columns, rows, *_ = process.get_terminal_size()
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            line = self._line(["--tty", "--env", f"TERM={kind}"], inside)
            streams = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
            child = await asyncio.create_subprocess_exec(*line, start_new_session=True, preexec_fn=_lead, **streams)
            os.close(theirs)
            fed = asyncio.create_task(feed(process, os.dup(ours), is_terminal=True))
            await process.redirect(stdout=ours)
        else:
            in_read, in_write = os.pipe()
            pipes = dict.fromkeys(("stdout", "stderr"), asyncio.subprocess.PIPE)
            child = await asyncio.create_subprocess_exec(*self._line([], inside), stdin=in_read, **pipes)
            os.close(in_read)
            fed = asyncio.create_task(feed(process, in_write, is_terminal=False))
            await process.redirect(stdout=child.stdout, stderr=child.stderr, send_eof=False)
        status = await self._end_of(child, process)
        why, self._ended_why = (self._ended_why, "") if status else ("", self._ended_why)
        await finish(process, status, why)
        fed.cancel()

    async def _end_of(self, child: asyncio.subprocess.Process, process: asyncssh.SSHServerProcess) -> int:
        """Wait for a session's end; where its buyer goes first, our half of it ends, not his job in the container."""
        ended, gone = asyncio.create_task(child.wait()), asyncio.create_task(process.wait_closed())
        await asyncio.wait((ended, gone), return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()
        if not ended.done():
            child.kill()
        return await ended

    async def prepare(self) -> None:
        """Run a shell in the container. Raises HookFailed."""
        await asyncio.to_thread(self._engine.ask, "exec", self._container, "sh", "-c", "exit 0")

    async def run_script(self, script: str) -> None:
        """Run the buyer's start-up script once; what it says is in `start.log` of his home."""
        line = self._line([], ["sh", "-c", SCRIPT])
        child = await asyncio.create_subprocess_exec(*line, stdin=asyncio.subprocess.PIPE)
        with contextlib.suppress(ConnectionError):
            await child.communicate(script.encode())

    def side_work(self) -> list[Coroutine]:
        """Watch how much the container has on the disk."""
        try:
            (place,) = self._places()[:1]
        except (HookFailed, ValueError):
            place = Path("/")
        return [VolumeWatch(place, self._volume_bytes_max, self._volume_bytes, self._end_because).run()]

    def end(self) -> None:
        """Nothing: the stop hook removes the container with all that runs in it."""

    async def _end_because(self, why: str) -> None:
        self._ended_why = why
        with contextlib.suppress(HookFailed):
            await asyncio.to_thread(self._engine.ask, "restart", "--time", "0", self._container, within_s=RUN_S)

    def _see_that_it_runs(self) -> None:
        """Start the container again where the engine was restarted, or the buyer ended its first process."""
        if not self._engine.runs(self._container):
            self._engine.ask("start", self._container, within_s=RUN_S)

    def _places(self) -> list[Path]:
        """Return where the container's volumes lie on this machine."""
        template = '{{range .Mounts}}{{if eq .Type "volume"}}{{println .Source}}{{end}}{{end}}'
        return [Path(line) for line in self._engine.ask("inspect", "--format", template, self._container).split("\n")]

    def _volume_bytes(self) -> int:
        """Return what the container has on the disk: its own layer, its volumes, and files without a name."""
        try:
            layer = self._engine.ask("inspect", "--size", "--format", "{{.SizeRw}}", self._container, within_s=RUN_S)
            places = self._places()
            if all(os.access(place, os.R_OK | os.X_OK) for place in places):
                volumes = sum(map(folder_bytes, places))
            else:
                volumes = self._volume_bytes_by_engine()
            return (int(layer) if layer.isdigit() else 0) + volumes + self._deleted_bytes(places)
        except HookFailed:
            return 0  # the engine is away: nothing runs that could write

    def _volume_bytes_by_engine(self) -> int:
        """Ask the engine, which may look where this agent's user may not."""
        lines = self._engine.ask("system", "df", "--verbose", "--format", "{{json .Volumes}}", within_s=RUN_S)
        return sum(_bytes_of(each.get("Size", "")) for each in json.loads(lines) if each.get("Name") == self._container)

    def _deleted_bytes(self, places: list[Path]) -> int:
        container_id = self._engine.ask("inspect", "--format", "{{.Id}}", self._container)
        table, evidence = ProcessTable(), Evidence(container_id=container_id)
        pids = [pid for pid in table.pids() if in_container(table, table.lineage(pid), evidence)]
        devices = set()
        for place in (*places, *(Path(f"/proc/{pid}/root") for pid in pids[:1])):
            with contextlib.suppress(OSError):
                devices.add(place.stat().st_dev)
        return deleted_bytes(pids, devices)

    def _line(self, options: list[str], inside: list[str]) -> list[str]:
        return [self._engine.program, "exec", "--interactive", *options, "--workdir", HOME, self._container, *inside]


def _lead() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _bytes_of(text: str) -> int:
    """Read a size as engines print it: 12.5kB, 3MB, 1.2GB."""
    units = {"kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "B": 1}
    unit = next((unit for unit in units if text.endswith(unit)), None)
    return int(float(text.removesuffix(unit)) * units[unit]) if unit else 0
