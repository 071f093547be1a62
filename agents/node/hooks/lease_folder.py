"""What the ready hooks share: the folder of a lease, the SSH server that outlives its start hook, and their ends."""

import argparse
import asyncio
import json
import os
import re
import signal
import subprocess
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from agents.node.processes import Family, ProcessTable
from schemas.nodes import LeaseStart

READY_S, END_S, POLL_S = 30, 15, 0.05
READY_FILE, KEY_FILE, SCRIPT_MARK = "ready.json", "host_key", "script-has-run"
VOLUME_MIB = 100 * 1024
WORDS_MAX = 300
# Tenants' user ids where the agent is root: above what systems give to people, services and subordinate ranges.
FIRST_TENANT, TENANTS = 1_900_000_000, 100_000_000
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
PLACE = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$")


class HookFailed(Exception):
    """The hook cannot do what it was asked for; the message is one line."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that every ready hook takes."""
    parser.add_argument("action", choices=("start", "stop"))
    parser.add_argument("--folder", type=Path, default=Path(f"/var/tmp/hourbook-leases-{os.getuid()}"))
    parser.add_argument("--listen", default="127.0.0.1", help="address of this machine that the server listens on")
    parser.add_argument("--address", help="host name or address that buyers are told; default: --listen")
    parser.add_argument("--ports", type=_ports, default=(0, 0), help="FIRST-LAST; default: any that is free")
    parser.add_argument("--volume-mib", type=int, default=VOLUME_MIB, help="how large a lease's home may become")


def _ports(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    return int(first), int(last or first)


def lease_folder(options: argparse.Namespace) -> Path:
    """Return the lease's own folder, which nobody but its tenant and the agent may enter. Raises HookFailed."""
    node, lease_id = os.environ.get("HOURBOOK_NODE", "node"), os.environ.get("HOURBOOK_LEASE_ID", "")
    if not (PLACE.match(node) and PLACE.match(lease_id)):
        raise HookFailed("HOURBOOK_LEASE_ID names no lease")
    return options.folder / node / lease_id


def read_lease(raw: bytes) -> LeaseStart:
    """Return the lease that came on standard input. Raises HookFailed."""
    try:
        return LeaseStart.model_validate_json(raw)
    except ValidationError as error:
        raise HookFailed("standard input holds no lease") from error


def was_open(folder: Path) -> bool:
    """Tell whether the lease's server has been up before: then what the buyer keeps there is found again."""
    return former(folder) is not None


def former(folder: Path) -> dict[str, Any] | None:
    """Return what the lease's server last said of itself, whether or not it still runs."""
    try:
        known = json.loads((folder / READY_FILE).read_bytes())
        return known if isinstance(known["port"], int) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def make_folders(folder: Path, lease: LeaseStart) -> None:
    """Make the lease's folder anew, with the lease in it. Raises HookFailed."""
    for each in (folder.parent.parent, folder.parent):
        each.mkdir(parents=True, exist_ok=True, mode=0o711)
        if each.is_symlink() or each.stat().st_uid != os.getuid():
            raise HookFailed(f"{each} belongs to somebody else")
    folder.mkdir(mode=0o700)
    (folder / "lease.json").write_bytes(lease.canonical())


def endpoint_of(lease_id: str, options: argparse.Namespace, port: int) -> str:
    """Return what buyers are told."""
    host = options.address or options.listen
    return f"ssh://{lease_id}@{f'[{host}]' if ':' in host else host}:{port}"


def start_server(folder: Path, options: argparse.Namespace, make_sessions: Callable) -> dict[str, Any]:
    """Let a child of this process become the lease's SSH server; it goes on when the hook has ended.

    `make_sessions` gets the folder, the lease and the options. Raises HookFailed.
    """
    log = folder.with_name(f"{folder.name}.log")
    child = os.fork()
    if child == 0:
        _become_server(folder, options, make_sessions, log)
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and os.waitpid(child, os.WNOHANG) == (0, 0):
        known = running_server(folder)
        if known is not None:
            return known
        time.sleep(POLL_S)
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    words = " ".join(log.read_text(errors="replace").split())[-300:]
    raise HookFailed(f"the lease's SSH server did not start: {words or f'not ready within {READY_S} s'}")


def _become_server(folder: Path, options: argparse.Namespace, make_sessions: Callable, log: Path) -> NoReturn:
    status = 1
    try:
        os.setsid()
        with open(os.devnull, "rb") as nothing, log.open("wb") as said:
            os.dup2(nothing.fileno(), 0)
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
        from agents.node.hooks import server

        lease = LeaseStart.model_validate_json((folder / "lease.json").read_bytes())
        asyncio.run(server.serve(folder, lease, make_sessions(folder, lease, options), options))
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def running_server(folder: Path) -> dict[str, Any] | None:
    """Return what the lease's server said of itself, where it still runs."""
    known = former(folder)
    if known is None or known.get("boot") != BOOT_ID.read_text().strip():
        return None
    return known if ProcessTable().is_still(int(known["pid"]), known["started"]) else None


def end_server(folder: Path) -> None:
    """End the lease's server and all below it. Raises HookFailed where that takes too long."""
    known = running_server(folder)
    if known is None:
        return
    family, deadline = Family(int(known["pid"]), "", ProcessTable()), time.monotonic() + END_S
    while True:
        family.look()
        living = family.living()
        if not living:
            return
        if time.monotonic() > deadline:
            raise HookFailed(f"processes of the lease do not end: {living}")
        for each in living:
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        time.sleep(POLL_S)


def clear(folder: Path) -> None:
    """Remove the lease's folder, however deep and closed the tenant made it. Raises HookFailed.

    The system's own `chmod` and `rm` do it: they go to any depth, which Python's recursion and descriptors do not.
    """
    if folder.exists():
        for command in (("chmod", "-R", "u+rwx"), ("rm", "-r", "-f")):
            done = subprocess.run([*command, "--", str(folder)], capture_output=True)
        if folder.exists():
            words = done.stderr.decode(errors="replace").split("\n")[0][:WORDS_MAX]
            raise HookFailed(f"the lease's files cannot be removed: {words}")
    with suppress(FileNotFoundError):
        folder.with_name(f"{folder.name}.log").unlink()
