"""The one answer to who a client is by address: that of its connection, or what a trusted proxy says of it."""

from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from services.kit.request_parts import headers_of

ADDRESSES_KNOWN = 4_096
FORWARDED = frozenset({b"x-forwarded-for", b"x-forwarded-proto"})


class Forwarded:
    """Has uvicorn read what a proxy says of a client, where its address is trusted and it says anything at all."""

    def __init__(self, app: ASGIApp, trusted_proxies: str):
        self._app, self._read = app, ProxyHeadersMiddleware(app, trusted_proxies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one connection."""
        is_forwarded = not FORWARDED.isdisjoint(headers_of(scope))
        await (self._read if is_forwarded else self._app)(scope, receive, send)


def client_address(scope: Scope) -> str | None:
    """Returns the client's IP address, or None where the connection has none or a proxy names something else."""
    client = scope.get("client")
    return _in_plain_form(client[0]) if client else None


def client_group(scope: Scope) -> str:
    """Returns what the client shares its budgets with, empty where nobody can say."""
    return group_of(client_address(scope) or "")


@lru_cache(maxsize=ADDRESSES_KNOWN)
def group_of(address: str) -> str:
    """Returns what shares a budget: an IPv4 address, or the /64 that an IPv6 host may choose its addresses from."""
    if ":" not in address:
        return address
    found = ip_address(address)
    if isinstance(found, IPv6Address) and found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return str(ip_network((found, 64), strict=False))


@lru_cache(maxsize=ADDRESSES_KNOWN)
def _in_plain_form(text: str) -> str | None:
    try:
        return str(ip_address(text))
    except ValueError:
        return None
