"""The one answer to who a client is by address; uvicorn has read the trusted proxies' headers before."""

from functools import lru_cache
from ipaddress import ip_address

from starlette.types import Scope

ADDRESSES_KNOWN = 4_096


def client_address(scope: Scope) -> str | None:
    """Returns the client's IP address, or None where the connection has none or a proxy names something else."""
    client = scope.get("client")
    return _in_plain_form(client[0]) if client else None


@lru_cache(maxsize=ADDRESSES_KNOWN)
def _in_plain_form(text: str) -> str | None:
    try:
        return str(ip_address(text))
    except ValueError:
        return None
