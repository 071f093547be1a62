"""A network of a lease's own for the shell hook, by slirp4netns: out to other machines, never to this one's loopback.

Without one, tenants would share the machine's loopback with the operator's services and with each other's.
"""

import os
import select
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from agents.node.hooks.sandbox import NoSandbox

TUNNEL = Path("/dev/net/tun")
RESOLVER = "nameserver 10.0.2.3\n"
UP_S, POLL_S = 10, 0.005
MTU = 65520
NEEDED = ("slirp4netns", "unshare")


def missing_for_network() -> str:
    """Say what this machine lacks for a network of a lease's own; "" where it has all."""
    absent = [name for name in NEEDED if shutil.which(name) is None]
    if absent:
        return f"there is no {absent[0]} on PATH"
    return "" if os.access(TUNNEL, os.R_OK | os.W_OK) else f"{TUNNEL} is not there, or closed to the agent's user"


def own_network(wish: str | None) -> "OwnNetwork | None":
    """Return a network for `own`, none for `machine`, without a wish one where it can be had. Raises NoSandbox."""
    missing = "" if wish == "machine" else missing_for_network()
    if wish == "own" and missing:
        raise NoSandbox(f"network = own is not possible: {missing}")
    return None if missing or wish == "machine" else OwnNetwork()


class OwnNetwork:
    """One lease's network: a namespace that a sandbox is started in, and the process that carries what goes out."""

    def __init__(self) -> None:
        self._carrier: subprocess.Popen | None = None
        self._alive: int | None = None

    def command(self, inside: list[str]) -> list[str]:
        """Return the command line that runs another one in a new network namespace, as the same process."""
        return [shutil.which("unshare") or "unshare", "--user", "--map-current-user", "--net", "--", *inside]

    def attach(self, pid: int) -> None:
        """Carry what the process's network sends, once it has one. Raises NoSandbox."""
        self.end()
        deadline = time.monotonic() + UP_S
        while _namespace(pid) in (None, _namespace(os.getpid())):
            if time.monotonic() > deadline:
                raise NoSandbox("the lease's network namespace was not made")
            time.sleep(POLL_S)
        ready_read, ready_write = os.pipe()
        exit_read, self._alive = os.pipe()
        line = [shutil.which("slirp4netns") or "slirp4netns", "--configure", f"--mtu={MTU}", "--disable-host-loopback"]
        line += ["--enable-sandbox", f"--ready-fd={ready_write}", f"--exit-fd={exit_read}"]
        line += [f"--userns-path=/proc/{pid}/ns/user", str(pid), "tap0"]
        with os.fdopen(ready_read, "rb") as ready:
            self._carrier = subprocess.Popen(line, stdin=subprocess.DEVNULL, pass_fds=(ready_write, exit_read))
            os.close(ready_write)
            os.close(exit_read)
            is_told, _, _ = select.select([ready], [], [], UP_S)
            if not is_told or not ready.read(1):
                self.end()
                raise NoSandbox("slirp4netns did not bring the lease's network up")

    def end(self) -> None:
        """End the carrier; it ends by itself too when this process does."""
        if self._alive is not None:
            os.close(self._alive)
            self._alive = None
        if self._carrier is not None:
            with suppress(ProcessLookupError):
                self._carrier.kill()
            self._carrier.wait()
            self._carrier = None


def _namespace(pid: int) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/ns/net")
    except OSError:
        return None
