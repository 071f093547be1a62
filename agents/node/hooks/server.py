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
import tempfile
import termios
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Protocol

import asyncssh

from agents.node.hooks import inside as in_sandbox
from agents.node.hooks.inside import MESSAGE_BYTES_MAX
from agents.node.hooks.lease_folder import BOOT_ID, KEY_FILE, READY_FILE, SCRIPT_MARK, former
from agents.node.hooks.network import RESOLVER, OwnNetwork, own_network
from agents.node.hooks.sandbox import (
    INSIDE_HOME,
    NOT_SERVED,
    USER,
    NoSandbox,
    Sandbox,
    device_nodes,
    find_program,
    find_python,
    sftp_program,
    shell_program,
)
from agents.node.hooks.volume import VolumeWatch, deleted_bytes, folder_bytes
from agents.node.processes import ProcessTable
from schemas.nodes import LeaseStart

SESSIONS_MAX = 64
LOGIN_TIMEOUT_S = 30
KEEPALIVE_S = 30
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/cuda/bin"
READ_BYTES = 64 * 1024
SFTP_VERSION = 3
Serve = Callable[[asyncssh.SSHServerProcess], Awaitable[None]]
NO_SFTP = "this node has no sftp-server; use `scp -O`, rsync, or tar over ssh"
TOO_MANY = f"there are {SESSIONS_MAX} sessions already"


class Door(asyncssh.SSHServer):
    """Lets the lease's keys in under the lease's name, by nothing else; no forwarding of any kind."""

    def __init__(self, user: str, keys: asyncssh.SSHAuthorizedKeys | None, serve: Serve) -> None:
        self._user, self._keys, self._serve = user, keys, serve

    def connection_made(self, connection: asyncssh.SSHServerConnection) -> None:
        """Take the connection, which is given keys once it has named its user."""
        self._connection = connection

    def begin_auth(self, username: str) -> bool:
        """Ask for a key; under another name none fits."""
        if username == self._user and self._keys is not None:
            self._connection.set_authorized_keys(self._keys)
        return True

    def session_requested(self) -> "Session":
        """Open a session."""
        return Session(self._serve)


class Session(asyncssh.SSHServerProcess):
    """One session. SFTP is one like any other: OpenSSH's server inside; the library's own would serve our files."""

    def __init__(self, serve: Serve) -> None:
        super().__init__(serve, None, SFTP_VERSION, False)
        self._work: asyncio.Future | None = None

    def subsystem_requested(self, subsystem: str) -> bool:
        """Take it; what is not served is refused in words."""
        return True

    def session_started(self) -> None:
        """Begin, once it is known what is asked for."""
        if self.subsystem != "sftp":
            super().session_started()
            return
        streams = [maker(self, self.channel) for maker in (asyncssh.SSHReader, asyncssh.SSHWriter)]
        complaints = asyncssh.SSHWriter(self, self.channel, asyncssh.EXTENDED_DATA_STDERR)
        self._work = asyncio.ensure_future(self._start_process(*streams, complaints))


class LeaseSessions(Protocol):
    """What runs the sessions of one lease."""

    async def serve(self, process: asyncssh.SSHServerProcess) -> None:
        """Run one session to its end."""

    async def prepare(self) -> None:
        """See that sessions can be run, before anybody is told of them. Raises NoSandbox or HookFailed."""

    async def run_script(self, script: str) -> None:
        """Run the buyer's start-up script once; what it says is in `start.log` of his home."""

    def side_work(self) -> list[Coroutine]:
        """Return what has to run beside the sessions."""

    def end(self) -> None:
        """End whatever runs for the lease."""


class Sessions:
    """Starts what buyers ask for, all in the lease's one sandbox, which starts with the first of them."""

    def __init__(self, sandbox: Sandbox, volume_bytes_max: int, network: OwnNetwork | None = None) -> None:
        self._sandbox, self._volume_bytes_max, self._network = sandbox, volume_bytes_max, network
        self._ended_why = ""
        self._inside: subprocess.Popen | None = None
        self._channel: socket.socket | None = None
        self._waiting: dict[int, asyncio.Future[int]] = {}
        self._terminals: dict[int, asyncio.Future[int | None]] = {}
        self._numbers = itertools.count(1)

    async def serve(self, process: asyncssh.SSHServerProcess) -> None:
        """Run one session to its end."""
        command = self._command(process)
        if command is None or len(self._waiting) >= SESSIONS_MAX:
            refuse(process, self._why_not(process))
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
            await process.redirect(stdout=out_read, stderr=err_read, send_eof=False)
        status = await ended
        await finish(process, status, self._ended_why if status < 0 else "")
        fed.cancel()

    async def prepare(self) -> None:
        """Start the sandbox and run a shell in it. Raises NoSandbox."""
        nothing = os.open(os.devnull, os.O_RDWR)
        try:
            _, ended = self._start([shell_program(), "-c", "exit 0"], {}, (nothing, nothing, 2), None)
        finally:
            os.close(nothing)
        if status := await ended:
            raise NoSandbox(f"no shell runs in the lease's sandbox: status {status}")

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
        home = self._sandbox.home
        return [VolumeWatch(home, self._volume_bytes_max, self._volume_bytes, self._end_because).run()]

    def end(self) -> None:
        """End the sandbox with all that runs in it; the next session starts it anew."""
        if self._inside is not None:
            self._inside.kill()
            self._inside.wait()
        if self._network is not None:
            self._network.end()

    def _end_because(self, why: str) -> None:
        self._ended_why = why
        self.end()

    def _volume_bytes(self) -> int:
        """Return what the lease has on the disk: its home, and what its processes hold in files without a name."""
        home = self._sandbox.home
        return folder_bytes(home) + deleted_bytes(self._own_pids(), (home.stat().st_dev,))

    def _own_pids(self) -> list[int]:
        """Return the lease's processes: those of its own user, else all below its sandbox."""
        table, tenant = ProcessTable(), self._sandbox.tenant
        if tenant is not None:
            return [pid for pid in table.pids() if table.user(pid) == tenant]
        found = [] if self._inside is None else [self._inside.pid]
        for pid in found:
            found += table.children(pid)
        return found

    def _why_not(self, process: asyncssh.SSHServerProcess) -> str:
        if process.subsystem == "sftp":
            return NO_SFTP
        return f"there is no subsystem {process.subsystem}" if process.subsystem else TOO_MANY

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
        command = self._sandbox.command(inside)
        with theirs:
            self._inside = subprocess.Popen(
                command if self._network is None else self._network.command(command),
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                env={},
                **self._sandbox.process_options(),
            )
        if self._network is not None:
            self._network.attach(self._inside.pid)
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


def refuse(process: asyncssh.SSHServerProcess, why: str) -> None:
    """Turn a session down in one line."""
    process.stderr.write(f"hourbook: {why}\n".encode())
    process.exit(NOT_SERVED)


async def finish(process: asyncssh.SSHServerProcess, status: int, why: str = "") -> None:
    """Tell the buyer how his session ended, after all that it printed; `why` where it was ended by us."""
    with contextlib.suppress(OSError, asyncssh.Error):
        if why:
            process.stderr.write(f"hourbook: {why}\n".encode())
        await process.stdout.drain()
        await process.stderr.drain()
    if status < 0:
        process.exit_with_signal(signal.Signals(-status).name.removeprefix("SIG"))
    else:
        process.exit(status)


async def serve(folder: Path, lease: LeaseStart, sessions: LeaseSessions, options: argparse.Namespace) -> None:
    """Serve one lease until SIGTERM; says in `ready.json` where, once it does."""
    await sessions.prepare()
    host_key = _host_key(folder / KEY_FILE)
    lines = "".join(f"{line}\n" for line in lease.ssh_keys)
    keys = asyncssh.import_authorized_keys(lines) if lines else None
    listener = await _listen(
        _ports(folder, options), options, host_key, lambda: Door(lease.lease_id, keys, sessions.serve)
    )
    public = " ".join(host_key.export_public_key().decode().split()[:2])
    own = ProcessTable().stat(os.getpid())
    boot = BOOT_ID.read_text().strip()
    ready = {"port": listener.get_port(), "host_key": public, "pid": own.pid, "started": own.started, "boot": boot}
    unfinished = folder / "ready.new"
    unfinished.write_text(json.dumps(ready))
    unfinished.replace(folder / READY_FILE)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    work = [asyncio.create_task(each) for each in sessions.side_work()]
    if lease.script and not (folder / SCRIPT_MARK).exists():
        (folder / SCRIPT_MARK).touch()
        work.append(asyncio.create_task(sessions.run_script(lease.script)))
    await ended.wait()
    for task in work:
        task.cancel()
    sessions.end()
    listener.close()


def _host_key(file: Path) -> asyncssh.SSHKey:
    """Return the lease's host key, the same for as long as the lease lasts: the buyer's client knows it."""
    if not file.exists():
        unfinished = file.with_suffix(".new")
        unfinished.touch(mode=0o600)
        unfinished.write_bytes(asyncssh.generate_private_key("ssh-ed25519").export_private_key())
        unfinished.replace(file)
    return asyncssh.read_private_key(str(file))


def _ports(folder: Path, options: argparse.Namespace) -> range:
    """Return the ports to try: of a server that was up before its own alone, for that one was told to the buyer."""
    before = former(folder)
    first, last = options.ports if before is None else (before["port"],) * 2
    return range(first, last + 1)


async def _listen(
    ports: range,
    options: argparse.Namespace,
    host_key: asyncssh.SSHKey,
    make_door: Callable[[], Door],
) -> asyncssh.SSHAcceptor:
    for port in ports:
        try:
            return await asyncssh.listen(
                options.listen,
                port,
                server_factory=make_door,
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
    raise SystemExit(f"no port from {ports[0]} to {ports[-1]} is free on {options.listen}: {reason}")


def sandbox_of(folder: Path, lease: LeaseStart, file_bytes_max: int, resolver: Path | None = None) -> Sandbox:
    """Return the lease's sandbox, in which no file grows larger than `file_bytes_max`. Raises NoSandbox."""
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
        *(find_program(), find_python(tenant), folder / "home", folder, variables),
        devices=device_nodes(lease.gpu_uuids),
        tenant=tenant,
        file_bytes_max=file_bytes_max,
        resolver=resolver,
    )


def shell_sessions(folder: Path, lease: LeaseStart, options: argparse.Namespace) -> Sessions:
    """Return sessions of the shell hook. Raises NoSandbox."""
    volume_bytes_max = options.volume_mib << 20
    network, resolver = own_network(options.network), folder / "resolv.conf"
    if network is not None:
        resolver.write_text(RESOLVER)
        resolver.chmod(0o644)
    sandbox = sandbox_of(folder, lease, volume_bytes_max, resolver if network is not None else None)
    return Sessions(sandbox, volume_bytes_max, network)
