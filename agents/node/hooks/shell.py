"""The ready hook `shell`: an SSH server for each lease, sessions under bubblewrap; needs neither Docker nor root.

`python -m agents.node.hooks.shell start|stop [options]`; the lease comes on standard input. A start answers once the
server is listening. A stop ends the server, sees that no process is left, and removes the volume.
"""

import argparse
import json
import os
import re
import shutil
import signal
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import NoReturn
from zlib import crc32

from pydantic import ValidationError

from agents.node.hooks.sandbox import NoSandbox, find_program, write_names
from agents.node.processes import Family, ProcessTable
from schemas.nodes import LeaseStart

READY_S, END_S, POLL_S = 30, 15, 0.05
VOLUME_MIB = 100 * 1024
# Tenants' user ids where the agent is root: above what systems give to people, services and subordinate ranges.
FIRST_TENANT, TENANTS = 1_900_000_000, 100_000_000
PLACE = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$")


class HookFailed(Exception):
    """The hook cannot do what it was asked for; the message is one line."""


def main() -> int:
    """Do what the command line says; returns the exit status."""
    options = read_options()
    try:
        folder = lease_folder(options)
        if options.action == "start":
            print(json.dumps(start(folder, sys.stdin.buffer.read(), options)), flush=True)
        else:
            stop(folder)
    except (HookFailed, NoSandbox, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="hourbook-shell-hook", description="Opens and closes one lease's shell.")
    parser.add_argument("action", choices=("start", "stop"))
    parser.add_argument("--folder", type=Path, default=Path(f"/var/tmp/hourbook-leases-{os.getuid()}"))
    parser.add_argument("--listen", default="127.0.0.1", help="address of this machine that the server listens on")
    parser.add_argument("--address", help="host name or address that buyers are told; default: --listen")
    parser.add_argument("--ports", type=_ports, default=(0, 0), help="FIRST-LAST; default: any that is free")
    parser.add_argument("--volume-mib", type=int, default=VOLUME_MIB, help="how large a lease's home may become")
    return parser.parse_args()


def _ports(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    return int(first), int(last or first)


def lease_folder(options: argparse.Namespace) -> Path:
    """Return the lease's own folder, which nobody but its tenant and the agent may enter. Raises HookFailed."""
    node, lease_id = os.environ.get("HOURBOOK_NODE", "node"), os.environ.get("HOURBOOK_LEASE_ID", "")
    if not (PLACE.match(node) and PLACE.match(lease_id)):
        raise HookFailed("HOURBOOK_LEASE_ID names no lease")
    return options.folder / node / lease_id


def start(folder: Path, raw: bytes, options: argparse.Namespace) -> dict[str, object]:
    """Open the lease, or find it open already; returns the hook's answer."""
    try:
        lease = LeaseStart.model_validate_json(raw)
    except ValidationError as error:
        raise HookFailed("what came on standard input is no lease") from error
    find_program()
    known = _running(folder)
    if known is None:
        _clear(folder)
        _make_folder(folder, lease)
        known = _start_server(folder, options)
    host = options.address or options.listen
    answer = {
        "endpoint": f"ssh://{lease.lease_id}@{f'[{host}]' if ':' in host else host}:{known['port']}",
        "host_key": known["host_key"],
        "pid": known["pid"],
    }
    owner = (folder / "home").stat().st_uid
    return answer | ({"uid": owner} if owner != os.getuid() else {})


def _make_folder(folder: Path, lease: LeaseStart) -> None:
    for each in (folder.parent.parent, folder.parent):
        each.mkdir(parents=True, exist_ok=True, mode=0o711)
        if each.stat().st_uid != os.getuid() or each.is_symlink():
            raise HookFailed(f"{each} belongs to somebody else")
    folder.mkdir(mode=0o700)
    home = folder / "home"
    home.mkdir(mode=0o700)
    (folder / "lease.json").write_bytes(lease.canonical())
    write_names(folder)
    tenant = _free_user(folder) if os.getuid() == 0 else os.getuid()
    if tenant != os.getuid():
        for each in (folder, home):
            os.chown(each, tenant, tenant)


def _free_user(folder: Path) -> int:
    """Return a user id that no other lease here has; the same lease gets the same again where it can."""
    taken = {home.stat().st_uid for home in folder.parent.parent.glob("*/*/home")}
    number = crc32(str(folder).encode()) % TENANTS
    while FIRST_TENANT + number in taken:
        number = (number + 1) % TENANTS
    return FIRST_TENANT + number


def _start_server(folder: Path, options: argparse.Namespace) -> dict[str, object]:
    """Let a child of this process become the server; it goes on when the hook has ended."""
    log = folder.with_name(f"{folder.name}.log")
    child = os.fork()
    if child == 0:
        _become_server(folder, options, log)
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and os.waitpid(child, os.WNOHANG) == (0, 0):
        known = _running(folder)
        if known is not None:
            return known
        time.sleep(POLL_S)
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    words = " ".join(log.read_text(errors="replace").split())[-300:]
    raise HookFailed(f"the lease's SSH server did not start: {words or f'not ready within {READY_S} s'}")


def _become_server(folder: Path, options: argparse.Namespace, log: Path) -> NoReturn:
    status = 1
    try:
        os.setsid()
        with open(os.devnull, "rb") as nothing, log.open("wb") as said:
            os.dup2(nothing.fileno(), 0)
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
        from agents.node.hooks import server

        status = server.main(folder, options)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _running(folder: Path) -> dict[str, object] | None:
    """Return what the lease's server said of itself, where it still runs."""
    try:
        known = json.loads((folder / "ready.json").read_bytes())
        stat = ProcessTable().stat(int(known["pid"]))
        is_same = stat is not None and stat.started == known["started"] and not stat.has_ended
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return known if is_same else None


def stop(folder: Path) -> None:
    """Close the lease: its server and all below it are gone, and its volume too. Raises HookFailed."""
    known, table = _running(folder), ProcessTable()
    if known is not None:
        family = Family(int(known["pid"]), "", table)
        _end(family)
    with suppress(FileNotFoundError):
        tenant = (folder / "home").stat().st_uid
        if tenant >= FIRST_TENANT:
            _end_user(tenant, table)
    _clear(folder)


def _end(family: Family) -> None:
    deadline = time.monotonic() + END_S
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


def _end_user(tenant: int, table: ProcessTable) -> None:
    """End whatever runs as the lease's own user: nothing can hide from that."""
    deadline = time.monotonic() + END_S
    while own := [pid for pid in table.pids() if table.user(pid) == tenant and table.lives(pid)]:
        if time.monotonic() > deadline:
            raise HookFailed(f"processes of the lease do not end: {own}")
        for pid in own:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(POLL_S)


def _clear(folder: Path) -> None:
    """Remove the volume, whatever modes the tenant gave to what is in it."""

    def open_up(function, path, _problem) -> None:
        for each in (Path(path).parent, Path(path)):
            if not each.is_symlink():
                with suppress(OSError):
                    each.chmod(0o700)
        with suppress(FileNotFoundError):
            function(path)

    if folder.exists():
        shutil.rmtree(folder, onerror=open_up)
    with suppress(FileNotFoundError):
        folder.with_name(f"{folder.name}.log").unlink()
    if folder.exists():
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
