"""The one answer to who a client is by address; uvicorn has read the trusted proxies' headers before."""

from ipaddress import ip_address

from starlette.types import Scope


def client_address(scope: Scope) -> str | None:
    """Returns the client's IP address, or None where the connection has none or a proxy names something else."""
    client = scope.get("client")
    try:
        return str(ip_address(client[0])) if client else None
    except ValueError:
        return None
