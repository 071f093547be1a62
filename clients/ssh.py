"""Enters a leased node by SSH, with OpenSSH's client where it is on PATH, else with asyncssh; checks the host key."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

# What an operator's endpoint may be made of: nothing that a command line could take for an option.
HOST = re.compile(r"^[A-Za-z0-9:][A-Za-z0-9.:_-]{0,254}$")
USER = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$")
HOST_KEY = re.compile(r"^[a-z0-9@.-]+ [A-Za-z0-9+/]+={0,2}$")
CONNECT_S = 15
SSH_FAILED = 255


class NoWayIn(Exception):
    """The endpoint cannot be entered by SSH; the message says why."""


@dataclass(frozen=True)
class Door:
    """Where a buyer gets in, and the public key that the server there must show."""

    user: str
    host: str
    port: int
    host_key: str

    def __post_init__(self) -> None:
        if not (HOST.match(self.host) and USER.match(self.user) and 0 < self.port < 65_536):
            raise NoWayIn("the operator named no endpoint for SSH (ssh://user@host:port)")
        if not HOST_KEY.match(self.host_key):
            raise NoWayIn("the operator named no host key, so nobody can tell whose server answers")

    @property
    def known_host(self) -> str:
        """The line of a known_hosts file."""
        name = self.host if self.port == 22 else f"[{self.host}]:{self.port}"
        return f"{name} {self.host_key}\n"


def enter(door: Door, command: Sequence[str] = (), identity: Path | None = None) -> int:
    """Runs a command, or a shell where there is none, behind the door; returns its exit status, 255 if SSH failed."""
    with tempfile.TemporaryDirectory(prefix="hourbook-ssh-") as folder:
        known_hosts = Path(folder) / "known_hosts"
        known_hosts.write_text(door.known_host)
        if shutil.which("ssh"):
            return subprocess.call(openssh_command(door, command, known_hosts, identity))
        return asyncio.run(_enter_by_asyncssh(door, command, known_hosts, identity))


def openssh_command(door: Door, command: Sequence[str], known_hosts: Path, identity: Path | None) -> list[str]:
    """Returns the command line of OpenSSH's client."""
    options = {
        "UserKnownHostsFile": str(known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
        "CheckHostIP": "no",
        "ConnectTimeout": str(CONNECT_S),
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "ForwardAgent": "no",
        "LogLevel": "ERROR",
    }
    if identity:
        options |= {"IdentityFile": str(identity), "IdentitiesOnly": "yes"}
    spelled = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
    return ["ssh", *spelled, "-l", door.user, "-p", str(door.port), "--", door.host, *command]


async def _enter_by_asyncssh(door: Door, command: Sequence[str], known_hosts: Path, identity: Path | None) -> int:
    import asyncssh

    keys = {"client_keys": [str(identity)]} if identity else {}
    is_terminal = not command and sys.stdin.isatty()
    kind = os.environ.get("TERM", "xterm")
    terminal = {"term_type": kind, "term_size": os.get_terminal_size()} if is_terminal else {}
    try:
        async with asyncssh.connect(
            door.host,
            door.port,
            username=door.user,
            known_hosts=str(known_hosts),
            config=None,
            password_auth=False,
            kbdint_auth=False,
            login_timeout=CONNECT_S,
            **keys,
        ) as connection:
            process = await connection.create_process(
                " ".join(command) or None,
                stdin=sys.stdin.buffer,
                stdout=sys.stdout.buffer,
                stderr=sys.stderr.buffer,
                encoding=None,
                **terminal,
            )
            done = await process.wait()
    except (OSError, asyncssh.Error) as error:
        with suppress(OSError):
            print(f"hourbook: {door.host}:{door.port}: {error}", file=sys.stderr)
        return SSH_FAILED
    return SSH_FAILED if done.exit_status is None else done.exit_status
