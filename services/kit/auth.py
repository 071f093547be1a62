"""Who asks: signed requests checked against the public keys that the gateway publishes on `keys.events`."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from fastapi import FastAPI, Request
from fastapi.routing import APIRoute

from schemas import signing
from schemas.accounts import ApiKeySet, EnrolmentTokenRevoked, Scope
from schemas.ids import AccountId
from services.kit.http import OPEN_PATHS, ProblemError
from services.kit.inputs import read_number
from services.kit.keys import signature_holds

UNSIGNED = "key, timestamp, nonce and signature headers are needed"


class RouteWithoutScope(Exception):
    """A route neither names a scope nor says that it is public."""


@dataclass(frozen=True)
class Caller:
    """The account behind a verified request. Account ids come from the key, never from the path."""

    account: AccountId
    key_id: str
    scopes: frozenset[str]
    order_limit_micros: int | None
    node: str | None = None


# Refuses what a node's own key may not do: node, method, path, query, body.
NodeCheck = Callable[[str, str, str, str, bytes], None]


def refuse_node(node: str, *request: object) -> None:
    """Refuses every request of a node's own key: what another service than the gateway does with it."""
    raise ProblemError("scope_missing", f"the key is {node}'s own: it acts at the gateway alone, on its capacity")


class KeyDirectory:
    """The API keys as last published, by key id."""

    def __init__(self):
        self._keys: dict[str, ApiKeySet] = {}
        self._revoked_tokens: set[str] = set()

    def take(self, event: ApiKeySet | EnrolmentTokenRevoked) -> None:
        """Takes a record of `keys.events`."""
        if isinstance(event, EnrolmentTokenRevoked):
            self._revoked_tokens.add(event.token_id)
        else:
            self.put(event)

    def has_revoked_token(self, token_id: str) -> bool:
        """Says whether an enrolment token was revoked."""
        return token_id in self._revoked_tokens

    def put(self, key: ApiKeySet) -> None:
        """Takes the newest state of a key."""
        self._keys[key.key_id] = key

    def get(self, key_id: str) -> ApiKeySet | None:
        """Returns the key, or None."""
        return self._keys.get(key_id)


class NonceMemory:
    """Nonces within the window, each once. Older ones need no memory: their time stamp is refused."""

    def __init__(self, window_ms: int):
        self._window_ms, self._seen, self._order = window_ms, set(), deque()

    def take(self, key_id: str, nonce: str, now_ms: int) -> bool:
        """Returns False if this key used the nonce within the window."""
        while self._order and self._order[0][0] < now_ms - 2 * self._window_ms:
            self._seen.discard(self._order.popleft()[1])
        if (key_id, nonce) in self._seen:
            return False
        self._seen.add((key_id, nonce))
        self._order.append((now_ms, (key_id, nonce)))
        return True


class Authenticator:
    """Verifies requests. Time stamps from before this process started are refused, because its nonces are only in
    memory.
    """

    def __init__(
        self,
        directory: KeyDirectory,
        window_ms: int,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        check_node: NodeCheck = refuse_node,
    ):
        self._directory, self._now_ms, self._check_node = directory, now_ms, check_node
        self._window_ms = min(window_ms, signing.WINDOW_MS_MAX)
        self._nonces = NonceMemory(self._window_ms)
        self._started_ms = now_ms()

    def verify(self, method: str, path: str, query: str, body: bytes, headers, client: str | None) -> Caller:
        """Checks one request's signature. Raises ProblemError with 401 or 403."""
        try:
            key_id, nonce, signature = (
                headers[n] for n in (signing.KEY_HEADER, signing.NONCE_HEADER, signing.SIGNATURE_HEADER)
            )
            ts_ms = read_number(headers[signing.TIMESTAMP_HEADER])
        except KeyError as error:
            raise ProblemError("unsigned_request", UNSIGNED) from error
        if ts_ms is None:
            raise ProblemError("unsigned_request", UNSIGNED)
        key, now_ms = self._key(key_id, client), self._now_ms()
        if abs(now_ms - ts_ms) > self._window_ms or ts_ms < self._started_ms - 1_000:
            raise ProblemError("timestamp_outside_window", f"within {self._window_ms} ms of {now_ms}", retryable=True)
        text = signing.request_text(method, path, query, body, ts_ms, nonce, key_id)
        if not 8 <= len(nonce) <= 64 or not signature_holds(key.public_key, signature, text):
            raise ProblemError("bad_request_signature", "the signature does not fit this request")
        if not self._nonces.take(key_id, nonce, now_ms):
            raise ProblemError("nonce_used", "each nonce counts once")
        if key.node is not None:
            self._check_node(key.node, method, path, query, body)
        return Caller(key.account, key_id, frozenset(key.scopes), key.order_limit_micros, key.node)

    def _key(self, key_id: str, client: str | None) -> ApiKeySet:
        key = self._directory.get(key_id)
        if key is None or key.revoked:
            raise ProblemError("unknown_key", "no such key")
        if key.expires_ms is not None and key.expires_ms <= self._now_ms():
            raise ProblemError("key_expired", "the key has expired")
        if key.ip_networks and not any(client and ip_address(client) in ip_network(n) for n in key.ip_networks):
            raise ProblemError("address_not_allowed", "the key may not be used from this address")
        return key

    def require(self, *scopes: Scope) -> Callable:
        """Returns the FastAPI dependency of a route that needs one of the scopes; it yields the Caller."""

        async def caller(request: Request) -> Caller:
            client = request.client.host if request.client else None
            # Not `request.url`, which a Host header of the caller's could break.
            query = request.scope["query_string"].decode("latin-1")
            found = self.verify(
                request.method, request.scope["path"], query, await request.body(), request.headers, client
            )
            check_scope(found, *scopes)
            return found

        caller.declares_scope = True
        return caller


def check_scope(caller: Caller, *scopes: Scope) -> None:
    """Raises `scope_missing` unless the caller's key has one of the scopes; `admin` has them all."""
    if not caller.scopes & {*scopes, "admin"}:
        raise ProblemError("scope_missing", f"the key lacks the scope `{'` or `'.join(scopes)}`")


def public(endpoint: Callable) -> Callable:
    """Marks a route as open to everyone."""
    endpoint.is_public = True
    return endpoint


def refuse_undeclared_routes(app: FastAPI) -> None:
    """Default deny: raises RouteWithoutScope at start-up for a route that is neither public nor behind a scope."""
    for route in app.routes:
        if not isinstance(route, APIRoute) or route.path in OPEN_PATHS:
            continue
        declared = any(getattr(d.call, "declares_scope", False) for d in route.dependant.dependencies)
        if not declared and not getattr(route.endpoint, "is_public", False):
            raise RouteWithoutScope(route.path)
