"""The SSH server of one lease: lets the lease's keys in, and runs each session in the lease's sandbox."""

import argparse
import asyncio
import contextlib
import fcntl
import itertools
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Protocol

import asyncssh

from agents.node.hooks import inside as in_sandbox
from agents.node.hooks.inside import MESSAGE_BYTES_MAX
from agents.node.hooks.sandbox import (
    INSIDE_HOME,
    USER,
    Sandbox,
    device_nodes,
    find_program,
    find_python,
    sftp_program,
    shell_program,
)
from agents.node.processes import ProcessTable
from schemas.nodes import LeaseStart

SESSIONS_MAX = 64
LOGIN_TIMEOUT_S = 30
KEEPALIVE_S = 30
VOLUME_LOOK_S = 30
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/cuda/bin"
NOT_SERVED = 127
READ_BYTES = 64 * 1024


class Door(asyncssh.SSHServer):
    """Lets the lease's keys in under the lease's name, by nothing else; no forwarding of any kind."""

    def __init__(self, user: str, keys: asyncssh.SSHAuthorizedKeys | None) -> None:
        self._user, self._keys = user, keys

    def connection_made(self, connection: asyncssh.SSHServerConnection) -> None:
        """Take the connection, which is given keys once it has named its user."""
        self._connection = connection

    def begin_auth(self, username: str) -> bool:
        """Ask for a key; under another name none fits."""
        if username == self._user and self._keys is not None:
            self._connection.set_authorized_keys(self._keys)
        return True


class LeaseSessions(Protocol):
    """What runs the sessions of one lease."""

    async def serve(self, process: asyncssh.SSHServerProcess) -> None:
        """Run one session to its end."""

    async def run_script(self, script: str) -> None:
        """Run the buyer's start-up script once; what it says is in `start.log` of his home."""

    def side_work(self) -> list[Coroutine]:
        """Return what has to run beside the sessions."""

    def end(self) -> None:
        """End whatever runs for the lease."""


class Sessions:
    """Starts what buyers ask for, all in the lease's one sandbox, which starts with the first of them."""

    def __init__(self, sandbox: Sandbox, volume_bytes_max: int) -> None:
        self._sandbox, self._volume_bytes_max = sandbox, volume_bytes_max
        self._inside: subprocess.Popen | None = None
        self._channel: socket.socket | None = None
        self._waiting: dict[int, asyncio.Future[int]] = {}
        self._terminals: dict[int, asyncio.Future[int | None]] = {}
        self._numbers = itertools.count(1)

    async def serve(self, process: asyncssh.SSHServerProcess) -> None:
        """Run one session to its end."""
        command = self._command(process)
        if command is None or len(self._waiting) >= SESSIONS_MAX:
            process.stderr.write(b"hourbook: this node does not serve that\n")
            process.exit(NOT_SERVED)
            return
        kind = process.get_terminal_type()
        if kind:
            columns, rows, *_ = process.get_terminal_size()
            number, ended = self._start(command, {"TERM": kind}, (), (rows, columns))
            terminal = await self._terminals[number]
            if terminal is None:
                process.exit(NOT_SERVED)
                return
            fed = asyncio.create_task(feed(process, os.dup(terminal), is_terminal=True))
            await process.redirect(stdout=terminal)
        else:
            (in_read, in_write), (out_read, out_write), (err_read, err_write) = os.pipe(), os.pipe(), os.pipe()
            _, ended = self._start(command, {}, (in_read, out_write, err_write), None)
            for stream in (in_read, out_write, err_write):
                os.close(stream)
            fed = asyncio.create_task(feed(process, in_write, is_terminal=False))
            await process.redirect(stdout=out_read, stderr=err_read)
        status = await ended
        await finish(process, status)
        fed.cancel()

    async def run_script(self, script: str) -> None:
        """Run the buyer's start-up script once; what it says is in `start.log` of his home."""
        shell = shell_program()
        with tempfile.TemporaryFile() as given:
            given.write(script.encode())
            given.seek(0)
            command = [shell, "-c", f"exec >{INSIDE_HOME}/start.log 2>&1; exec {shell} -s"]
            _, ended = self._start(command, {}, (given.fileno(), 2, 2), None)
        await ended

    def side_work(self) -> list[Coroutine]:
        """Watch how large the home becomes."""
        return [watch_volume(self._sandbox.home, self._volume_bytes_max, self)]

    def end(self) -> None:
        """End the sandbox with all that runs in it; the next session starts it anew."""
        if self._inside is not None:
            self._inside.kill()
            self._inside.wait()

    def _command(self, process: asyncssh.SSHServerProcess) -> list[str] | None:
        if process.subsystem:
            server = sftp_program() if process.subsystem == "sftp" else None
            return [server] if server else None
        shell = shell_program()
        return [shell, "-c", process.command] if process.command else [shell, "-l"]

    def _start(
        self, command: list[str], variables: dict[str, str], streams: tuple[int, ...], size: tuple[int, int] | None
    ) -> tuple[int, asyncio.Future[int]]:
        channel, number = self._sandbox_channel(), next(self._numbers)
        loop = asyncio.get_running_loop()
        ended = self._waiting[number] = loop.create_future()
        if size is not None:
            self._terminals[number] = loop.create_future()
        request = {"id": number, "argv": command, "env": variables, "size": size}
        try:
            socket.send_fds(channel, [json.dumps(request).encode()], list(streams))
        except OSError:
            self._finish(number, NOT_SERVED)
        return number, ended

    def _sandbox_channel(self) -> socket.socket:
        """Return the way into the sandbox, which is started where it does not run."""
        if self._channel is not None and self._inside is not None and self._inside.poll() is None:
            return self._channel
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        inside = [self._sandbox.python, "-I", "-c", Path(in_sandbox.__file__).read_text(), str(theirs.fileno())]
        with theirs:
            self._inside = subprocess.Popen(
                self._sandbox.command(inside),
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                env={},
                **self._sandbox.user_options(),
            )
        ours.setblocking(False)
        self._channel = ours
        asyncio.get_running_loop().add_reader(ours, self._hear, ours)
        return ours

    def _hear(self, channel: socket.socket) -> None:
        try:
            message, terminals, _, _ = socket.recv_fds(channel, MESSAGE_BYTES_MAX, 1)
        except BlockingIOError:
            return
        except OSError:
            message, terminals = b"", []
        if not message:
            asyncio.get_running_loop().remove_reader(channel)
            channel.close()
            for number in list(self._waiting):
                self._finish(number, -signal.SIGKILL)
            return
        answer = json.loads(message)
        if terminals:
            self._terminals[answer["id"]].set_result(terminals[0])
        else:
            self._finish(answer["id"], answer["status"])

    def _finish(self, number: int, status: int) -> None:
        for waiting, outcome in ((self._terminals.pop(number, None), None), (self._waiting.pop(number, None), status)):
            if waiting is not None and not waiting.done():
                waiting.set_result(outcome)


async def feed(process: asyncssh.SSHServerProcess, stream: int, is_terminal: bool) -> None:
    """Hand what the buyer sends to his session, and tell its terminal when his has another size."""
    loop = asyncio.get_running_loop()
    transport, flow = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, os.fdopen(stream, "wb", 0))
    writer = asyncio.StreamWriter(transport, flow, None, loop)
    try:
        while True:
            try:
                chunk = await process.stdin.read(READ_BYTES)
            except asyncssh.TerminalSizeChanged as change:
                if is_terminal:
                    size = struct.pack("HHHH", change.height, change.width, 0, 0)
                    fcntl.ioctl(transport.get_extra_info("pipe"), termios.TIOCSWINSZ, size)
                continue
            except (asyncssh.BreakReceived, asyncssh.SignalReceived):
                continue
            if not chunk:
                return
            writer.write(chunk)
            await writer.drain()
    except (OSError, asyncssh.Error):
        return  # the session has ended, or the buyer has gone
    finally:
        writer.close()


async def finish(process: asyncssh.SSHServerProcess, status: int) -> None:
    """Tell the buyer how his session ended, after all that it printed."""
    with contextlib.suppress(OSError, asyncssh.Error):
        await process.stdout.drain()
        await process.stderr.drain()
    if status < 0:
        process.exit_with_signal(signal.Signals(-status).name.removeprefix("SIG"))
    else:
        process.exit(status)


def volume_bytes(home: Path) -> int:
    """Return how much a lease's home takes on the disk; links are not followed."""
    total = 0
    for folder, _, files in os.walk(home):
        for name in files:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512
    return total


async def watch_volume(home: Path, bytes_max: int, sessions: Sessions) -> None:
    """End all sessions while the home is larger than it may be, so that one tenant cannot fill the disk for all."""
    while True:
        await asyncio.sleep(VOLUME_LOOK_S)
        if await asyncio.to_thread(volume_bytes, home) > bytes_max:
            print(f"the volume is over {bytes_max} bytes: sessions end", file=sys.stderr, flush=True)
            sessions.end()


async def serve(folder: Path, lease: LeaseStart, sessions: LeaseSessions, options: argparse.Namespace) -> None:
    """Serve one lease until SIGTERM; says in `ready.json` where, once it does."""
    host_key = asyncssh.generate_private_key("ssh-ed25519")
    lines = "".join(f"{line}\n" for line in lease.ssh_keys)
    keys = asyncssh.import_authorized_keys(lines) if lines else None
    listener = await _listen(options, sessions, host_key, lambda: Door(lease.lease_id, keys))
    public = " ".join(host_key.export_public_key().decode().split()[:2])
    own = ProcessTable().stat(os.getpid())
    ready = {"port": listener.get_port(), "host_key": public, "pid": own.pid, "started": own.started}
    unfinished = folder / "ready.new"
    unfinished.write_text(json.dumps(ready))
    unfinished.replace(folder / "ready.json")
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    work = [asyncio.create_task(each) for each in sessions.side_work()]
    if lease.script:
        work.append(asyncio.create_task(sessions.run_script(lease.script)))
    await ended.wait()
    for task in work:
        task.cancel()
    sessions.end()
    listener.close()


async def _listen(
    options: argparse.Namespace, sessions: LeaseSessions, host_key: asyncssh.SSHKey, make_door: Callable[[], Door]
) -> asyncssh.SSHAcceptor:
    first, last = options.ports
    for port in range(first, last + 1):
        try:
            return await asyncssh.listen(
                options.listen,
                port,
                server_factory=make_door,
                process_factory=sessions.serve,
                server_host_keys=[host_key],
                password_auth=False,
                kbdint_auth=False,
                host_based_auth=False,
                gss_host=None,
                encoding=None,
                allow_scp=False,
                x11_forwarding=False,
                agent_forwarding=False,
                login_timeout=LOGIN_TIMEOUT_S,
                keepalive_interval=KEEPALIVE_S,
                server_version="Hourbook",
            )
        except OSError as error:
            reason = error
    raise SystemExit(f"no port from {first} to {last} is free on {options.listen}: {reason}")


def sandbox_of(folder: Path, lease: LeaseStart) -> Sandbox:
    """Return the lease's sandbox. Raises NoSandbox."""
    uuids = ",".join(lease.gpu_uuids)
    variables = {
        "HOME": INSIDE_HOME,
        "USER": USER,
        "LOGNAME": USER,
        "SHELL": shell_program(),
        "PATH": SEARCH_PATH,
        "LANG": "C.UTF-8",
        "HOURBOOK_LEASE_ID": lease.lease_id,
        "HOURBOOK_GPU_UUIDS": uuids,
        "CUDA_VISIBLE_DEVICES": uuids,
    }
    owner = (folder / "home").stat().st_uid
    tenant = owner if owner != os.geteuid() else None
    return Sandbox(
        find_program(), find_python(tenant), folder / "home", folder, variables, device_nodes(lease.gpu_uuids), tenant
    )


def shell_sessions(folder: Path, lease: LeaseStart, options: argparse.Namespace) -> Sessions:
    """Return sessions of the shell hook. Raises NoSandbox."""
    return Sessions(sandbox_of(folder, lease), options.volume_mib << 20)
