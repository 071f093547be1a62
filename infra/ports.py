"""TCP ports of this machine: free ones, taken ones, and who answers."""

import random
import socket
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import psutil

LOOPBACK = "127.0.0.1"
CLIENTS_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
LOWEST = 10_240


class PortTaken(RuntimeError):
    """Another program listens on a port that a server of ours wants."""

    def __init__(self, server: str, port: int, setting: str) -> None:
        super().__init__(f"port {port} on {LOOPBACK}, wanted by {server}, is taken; {setting} chooses another")
        self.server, self.port = server, port


class NoPort(RuntimeError):
    """No port was free among those tried."""


def distinct_ports(count: int) -> list[int]:
    """So many ports that are free at this moment, no two the same: one given back may be the next that is asked for.

    They lie below those that the system gives to clients: a server that starts again would find its port taken by one.
    """
    with ExitStack() as held:
        return [_bind_any(held.enter_context(socket.socket())) for _ in range(count)]


def _bind_any(probe: socket.socket) -> int:
    for port in random.sample(range(LOWEST, first_of_clients()), 100):
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            continue
        return port
    raise NoPort(f"no port is free among 100 below {first_of_clients()}")


def first_of_clients() -> int:
    """The lowest port that the system gives to clients by itself."""
    try:
        first = int(CLIENTS_RANGE.read_text().split()[0])
    except (OSError, ValueError):
        first = 32_768
    return first if first > LOWEST + 1_000 else 65_536


def listeners(port: int) -> list[psutil.Process]:
    """The processes that listen on a port, as far as this user may see them."""
    found = []
    for each in psutil.net_connections("tcp"):
        if each.status == psutil.CONN_LISTEN and each.laddr.port == port and each.pid:
            with suppress(psutil.NoSuchProcess):
                found.append(psutil.Process(each.pid))
    return found


def free_port() -> int:
    """A port that the system says is free at this moment."""
    return distinct_ports(1)[0]


def require_free(server: str, port: int, setting: str) -> None:
    """Raise PortTaken when the port cannot be bound."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise PortTaken(server, port, setting) from error


def accepts(address: str, timeout_s: float = 0.5) -> bool:
    """Whether something accepts a connection at `host:port` or at a URL's host and port."""
    parts = urlsplit(address if "//" in address else f"//{address}")
    try:
        socket.create_connection((parts.hostname, parts.port), timeout=timeout_s).close()
    except OSError:
        return False
    return True
