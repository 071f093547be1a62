"""The ready hook `container`: a container of Docker or Podman for each lease, entered by an SSH server of its own.

`python -m agents.node.hooks.container start|stop --image IMAGE [options]`. The image needs a shell and `sleep`, no SSH
server: sessions are `docker exec`. At the end container and volume are removed.
"""

import argparse
import asyncio
import contextlib
import fcntl
import json
import os
import pty
import shutil
import struct
import subprocess
import sys
import termios
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from agents.node.hooks.lease_folder import (
    HookFailed,
    add_options,
    clear,
    end_server,
    endpoint_of,
    lease_folder,
    make_folders,
    running_server,
    start_server,
)
from schemas.nodes import LeaseStart

if TYPE_CHECKING:
    import asyncssh

ENGINES = ("docker", "podman")
HOME = "/home/gpu"
ASK_S, RUN_S = 20, 600
PROCESSES_MAX = 32_768
DROPPED = ("AUDIT_WRITE", "MKNOD", "NET_RAW", "SYS_CHROOT")
DRIVER = Path("/dev/nvidiactl")
DEVICE_INTERFACES = (Path("/etc/cdi"), Path("/var/run/cdi"))
LOGIN = "if command -v bash >/dev/null 2>&1; then exec bash -l; else exec sh -l; fi"
SCRIPT = f"exec >{HOME}/start.log 2>&1; exec sh -s"


class Engine:
    """Docker or Podman, by its command line."""

    def __init__(self, program: str) -> None:
        self.program = program

    @classmethod
    def find(cls, name: str | None) -> "Engine":
        """Return the named engine, or the first that is on PATH. Raises HookFailed."""
        program = next((found for each in ([name] if name else ENGINES) if (found := shutil.which(each))), None)
        if program is None:
            raise HookFailed(f"the container hook needs {name or 'docker or podman'}: not on PATH")
        engine = cls(program)
        engine.ask("version")
        return engine

    def ask(self, *arguments: str, within_s: int = ASK_S) -> str:
        """Run one command; returns what it printed. Raises HookFailed with its complaint."""
        try:
            done = subprocess.run([self.program, *arguments], capture_output=True, text=True, timeout=within_s)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise HookFailed(f"{self.program} {arguments[0]}: {error}") from error
        if done.returncode:
            words = " ".join(done.stderr.split())[-300:]
            raise HookFailed(f"{self.program} {arguments[0]} failed: {words}")
        return done.stdout.strip()

    def gpu_options(self, uuids: tuple[str, ...]) -> list[str]:
        """Return the options that give a container these GPUs and no others. Raises HookFailed."""
        if any(next(iter(place.glob("*nvidia*")), None) for place in DEVICE_INTERFACES):
            return [part for uuid in uuids for part in ("--device", f"nvidia.com/gpu={uuid}")]
        if Path(self.program).name == "docker" and "nvidia" in self.ask("info", "--format", "{{json .Runtimes}}"):
            return ["--gpus", f'"device={",".join(uuids)}"']
        if DRIVER.exists():
            raise HookFailed("the NVIDIA container toolkit is missing: a container would get no GPU")
        return []  # no driver on this machine: the stand-in library's GPUs are in no container


class ContainerSessions:
    """Runs each session as a process in the lease's container."""

    def __init__(self, engine: Engine, container: str) -> None:
        self._engine, self._container = engine, container

    async def serve(self, process: "asyncssh.SSHServerProcess") -> None:
        """Run one session to its end."""
        from agents.node.hooks.server import feed, finish

        if process.subsystem:
            process.stderr.write(b"hourbook: containers serve no subsystems\n")
            process.exit(127)
            return
        kind = process.get_terminal_type()
        inside = ["sh", "-c", process.command or LOGIN]
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
            await process.redirect(stdout=child.stdout, stderr=child.stderr)
        await finish(process, await child.wait())
        fed.cancel()

    async def run_script(self, script: str) -> None:
        """Run the buyer's start-up script once; what it says is in `start.log` of his home."""
        line = self._line([], ["sh", "-c", SCRIPT])
        child = await asyncio.create_subprocess_exec(*line, stdin=asyncio.subprocess.PIPE)
        with contextlib.suppress(ConnectionError):
            await child.communicate(script.encode())

    def side_work(self) -> list[Coroutine]:
        """Nothing: the engine bounds the container."""
        return []

    def end(self) -> None:
        """Nothing: the stop hook removes the container with all that runs in it."""

    def _line(self, options: list[str], inside: list[str]) -> list[str]:
        return [self._engine.program, "exec", "--interactive", *options, "--workdir", HOME, self._container, *inside]


def _lead() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def main() -> int:
    """Do what the command line says; returns the exit status."""
    parser = argparse.ArgumentParser(prog="hourbook-container-hook", description="Opens and closes one container.")
    add_options(parser)
    parser.add_argument("--image", required=True, help="what a lease's container is made of")
    parser.add_argument("--engine", choices=ENGINES, help="default: the first that is on PATH")
    parser.add_argument("--buyers-image", choices=("yes", "no"), default="no", help="may the buyer name another?")
    options = parser.parse_args()
    try:
        folder, engine = lease_folder(options), Engine.find(options.engine)
        if options.action == "start":
            print(json.dumps(start(folder, engine, sys.stdin.buffer.read(), options)), flush=True)
        else:
            stop(folder, engine)
    except (HookFailed, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def container_name(folder: Path) -> str:
    """Name a lease's container and its volume."""
    return f"hourbook-{folder.parent.name}-{folder.name}".replace(":", "_")


def start(folder: Path, engine: Engine, raw: bytes, options: argparse.Namespace) -> dict[str, object]:
    """Open the lease, or find it open already; returns the hook's answer."""
    try:
        lease = LeaseStart.model_validate_json(raw)
    except ValidationError as error:
        raise HookFailed("what came on standard input is no lease") from error
    name, known = container_name(folder), running_server(folder)
    if known is None:
        stop(folder, engine)
        make_folders(folder, lease)
        image = (lease.image if options.buyers_image == "yes" else None) or options.image
        engine.ask("volume", "create", name)
        engine.ask(*_run_options(engine, name, lease), image, "infinity", within_s=RUN_S)
        known = start_server(folder, options, lambda *_: ContainerSessions(engine, name))
    container_id = engine.ask("inspect", "--format", "{{.Id}}", name)
    endpoint = endpoint_of(lease.lease_id, options, known["port"])
    return {"endpoint": endpoint, "host_key": known["host_key"], "container_id": container_id}


def _run_options(engine: Engine, name: str, lease: LeaseStart) -> list[str]:
    uuids = ",".join(lease.gpu_uuids)
    variables = {"HOURBOOK_LEASE_ID": lease.lease_id, "HOURBOOK_GPU_UUIDS": uuids, "HOME": HOME}
    options = ["run", "--detach", "--name", name, "--hostname", "hourbook", "--init", "--entrypoint", "sleep"]
    options += ["--pids-limit", str(PROCESSES_MAX), "--security-opt", "no-new-privileges"]
    options += [part for capability in DROPPED for part in ("--cap-drop", capability)]
    options += [part for each in variables.items() for part in ("--env", "=".join(each))]
    options += ["--volume", f"{name}:{HOME}", "--workdir", HOME]
    return options + engine.gpu_options(lease.gpu_uuids)


def stop(folder: Path, engine: Engine) -> None:
    """Close the lease: server, container and volume are gone. Raises HookFailed."""
    end_server(folder)
    name = container_name(folder)
    for kind, remove in (("container", ("rm", "--force", "--volumes")), ("volume", ("volume", "rm", "--force"))):
        with contextlib.suppress(HookFailed):
            engine.ask(*remove, name, within_s=RUN_S)
        if _is_there(engine, kind, name):
            raise HookFailed(f"the {kind} {name} cannot be removed")
    clear(folder)


def _is_there(engine: Engine, kind: str, name: str) -> bool:
    if kind == "volume":
        return name in engine.ask("volume", "ls", "--format", "{{.Name}}").splitlines()
    return name in engine.ask("ps", "--all", "--format", "{{.Names}}").splitlines()


if __name__ == "__main__":
    sys.exit(main())
