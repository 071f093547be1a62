"""TCP ports of this machine: free ones, taken ones, and who answers."""

import socket
from contextlib import ExitStack
from urllib.parse import urlsplit

LOOPBACK = "127.0.0.1"


class PortTaken(RuntimeError):
    """Another program listens on a port that a server of ours wants."""

    def __init__(self, server: str, port: int, setting: str) -> None:
        super().__init__(f"port {port} on {LOOPBACK}, wanted by {server}, is taken; {setting} chooses another")
        self.server, self.port = server, port


def distinct_ports(count: int) -> list[int]:
    """So many ports that are free at this moment, no two the same: one given back may be the next that is asked for."""
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((LOOPBACK, 0))
        return [probe.getsockname()[1] for probe in probes]


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
