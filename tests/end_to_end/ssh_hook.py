"""An operator's hook for tests: an SSH server for each lease, whose sessions are shells of this machine.

`ssh_hook.py FOLDER start|stop`, the lease as JSON on standard input. FOLDER/bin comes first on the sessions' PATH: it
holds what the operator has installed for his buyers.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import asyncssh

HOST, START_S = "127.0.0.1", 20


async def serve(folder: Path, lease: dict) -> None:
    """Lets the lease's keys in until the process is ended; says where it listens in a file."""

    async def run(session: asyncssh.SSHServerProcess) -> None:
        words = ["sh", "-c", session.command] if session.command else ["sh"]
        variables = os.environ | {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
        inner = await asyncio.create_subprocess_exec(*words, stdin=-1, stdout=-1, stderr=-1, env=variables)
        await session.redirect(inner.stdin, inner.stdout, inner.stderr)
        session.exit(await inner.wait())

    key = asyncssh.generate_private_key("ssh-ed25519")
    keys = asyncssh.import_authorized_keys("\n".join(lease["ssh_keys"]))
    options = {"server_host_keys": [key], "authorized_client_keys": keys, "process_factory": run, "encoding": None}
    server = await asyncssh.listen(HOST, 0, **options)
    place = {
        "endpoint": f"ssh://buyer@{HOST}:{server.get_port()}",
        "host_key": " ".join(key.export_public_key().decode().split()[:2]),
        "pid": os.getpid(),
    }
    file = place_file(folder, lease["lease_id"])
    file.with_suffix(".new").write_text(json.dumps(place))
    file.with_suffix(".new").replace(file)
    await server.wait_closed()


def place_file(folder: Path, lease_id: str) -> Path:
    return folder / f"{lease_id}.json"


def main() -> None:
    folder, action, lease = Path(sys.argv[1]), sys.argv[2], json.load(sys.stdin)
    file = place_file(folder, lease["lease_id"])
    if action == "serve":
        asyncio.run(serve(folder, lease))
    elif action == "start":
        if not file.exists():
            with file.with_suffix(".log").open("wb") as log:
                command = [sys.executable, __file__, str(folder), "serve"]
                server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log)
            server.stdin.write(json.dumps(lease).encode())
            server.stdin.close()
            ends = time.monotonic() + START_S
            while not file.exists() and server.poll() is None and time.monotonic() < ends:
                time.sleep(0.05)
        print(file.read_text())
    elif file.exists():
        with suppress(ProcessLookupError):
            os.kill(json.loads(file.read_text())["pid"], signal.SIGTERM)
        file.unlink()


if __name__ == "__main__":
    main()
