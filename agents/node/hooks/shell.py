"""The ready hook `shell`: an SSH server for each lease, sessions under bubblewrap; needs neither Docker nor root.

`python -m agents.node.hooks.shell start|stop [options]`; the lease comes on standard input. A start answers once the
server is listening. A stop ends the server, sees that no process is left, and removes the volume.
"""

import argparse
import json
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from zlib import crc32

from agents.node.hooks.lease_folder import (
    END_S,
    FIRST_TENANT,
    POLL_S,
    TENANTS,
    HookFailed,
    add_options,
    clear,
    end_server,
    endpoint_of,
    lease_folder,
    make_folders,
    read_lease,
    running_server,
    start_server,
    was_open,
)
from agents.node.hooks.sandbox import NoSandbox, find_program, write_names
from agents.node.processes import ProcessTable


def main() -> int:
    """Do what the command line says; returns the exit status."""
    parser = argparse.ArgumentParser(prog="hourbook-shell-hook", description="Opens and closes one lease's shell.")
    add_options(parser)
    parser.add_argument("--network", choices=("own", "machine"), help="default: a lease's own where that can be had")
    options = parser.parse_args()
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


def start(folder: Path, raw: bytes, options: argparse.Namespace) -> dict[str, object]:
    """Open the lease, or find it open already; returns the hook's answer."""
    lease = read_lease(raw)
    find_program()
    known = running_server(folder)
    if known is None:
        from agents.node.hooks.server import shell_sessions

        if not was_open(folder):  # else the server has died, or the machine restarted: the buyer's home is kept
            clear(folder)
            make_folders(folder, lease)
            _make_home(folder)
        known = start_server(folder, options, shell_sessions)
    answer = {"endpoint": endpoint_of(lease.lease_id, options, known["port"]), "host_key": known["host_key"]}
    owner = (folder / "home").stat().st_uid
    return answer | {"pid": known["pid"]} | ({"uid": owner} if owner != os.getuid() else {})


def _make_home(folder: Path) -> None:
    home = folder / "home"
    home.mkdir(mode=0o700)
    write_names(folder)
    if os.getuid() == 0:
        tenant = _free_user(folder)
        for each in (folder, home):
            os.chown(each, tenant, tenant)


def _free_user(folder: Path) -> int:
    """Return a user id that no other lease here has; the same lease gets the same again where it can."""
    taken = {home.stat().st_uid for home in folder.parent.parent.glob("*/*/home")}
    number = crc32(str(folder).encode()) % TENANTS
    while FIRST_TENANT + number in taken:
        number = (number + 1) % TENANTS
    return FIRST_TENANT + number


def stop(folder: Path) -> None:
    """Close the lease: its server and all below it are gone, and its volume too. Raises HookFailed."""
    end_server(folder)
    with suppress(FileNotFoundError):
        tenant = (folder / "home").stat().st_uid
        if tenant >= FIRST_TENANT:
            _end_user(tenant, ProcessTable())
    clear(folder)


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


if __name__ == "__main__":
    sys.exit(main())
