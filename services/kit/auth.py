"""Who asks: signed requests checked against the public keys that the gateway publishes on `keys.events`."""

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from urllib.parse import unquote

from fastapi import FastAPI, Request
from fastapi.routing import APIRoute, iter_route_contexts

from schemas import signing
from schemas.accounts import ApiKeySet, Scope, SignedRequest
from schemas.ids import AccountId
from services.kit.addresses import client_address
from services.kit.http import OPEN_PATHS, ProblemError
from services.kit.key_directory import KeyDirectory
from services.kit.key_requests import text_of
from services.kit.keys import SIGNATURE, signature_holds
from services.kit.limits import Budget, EitherBudget

BURST_S = 4.0
SPENT = "the key's budget is used up for now"
UNSIGNED = "key, timestamp, nonce and signature headers are needed"
SIGNING_HEADERS = {
    name.lower().encode(): place
    for place, name in enumerate(
        (
            signing.KEY_HEADER,
            signing.TIMESTAMP_HEADER,
            signing.NONCE_HEADER,
            signing.SIGNATURE_HEADER,
            signing.IDEMPOTENCY_HEADER,
        )
    )
}
TIME_STAMP = re.compile(r"[1-9][0-9]{0,15}")
NONCE = re.compile(r"[\x21-\x7e]{8,64}")


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


# As ASGI has them: names in lower case, one pair for each header line.
Headers = Iterable[tuple[bytes, bytes]]
# Refuses what a node's own key may not do: node, method, path, query, body.
NodeCheck = Callable[[str, str, str, str, bytes], None]


def refuse_node(node: str, *request: object) -> None:
    """Refuses every request of a node's own key: what another service than the gateway does with it."""
    raise ProblemError("scope_missing", f"the key is {node}'s own: it acts at the gateway alone, on its capacity")


class NonceMemory:
    """Each key's nonces by the second of their time stamp, kept until that time stamp is refused anyway."""

    def __init__(self, window_ms: int):
        self._window_ms = window_ms
        self._by_second: dict[int, set[tuple[str, str]]] = {}
        self._forgotten_to_ms = 0

    def is_forgotten(self, ts_ms: int) -> bool:
        """Says whether nonces of this time stamp are no longer known: after the clock was set back they may be old."""
        return ts_ms < self._forgotten_to_ms

    def take(self, key_id: str, nonce: str, ts_ms: int, now_ms: int) -> bool:
        """Returns False if this key used the nonce with a time stamp that is still accepted."""
        second = ts_ms // 1_000
        known = self._by_second.get(second)
        if known is None:
            self._forget(now_ms)
            known = self._by_second[second] = set()
        pair = (key_id, nonce)
        if pair in known:
            return False
        known.add(pair)
        return True

    def _forget(self, now_ms: int) -> None:
        for second in [each for each in self._by_second if (each + 1) * 1_000 < now_ms - self._window_ms]:
            del self._by_second[second]
            self._forgotten_to_ms = max(self._forgotten_to_ms, (second + 1) * 1_000)


def read_signing_headers(headers: Headers) -> tuple[str, str, str, str, str]:
    """Returns key id, time stamp, nonce, signature and idempotency key as sent. Raises `unsigned_request`."""
    found: list[str | None] = [None, None, None, None, None]
    for name, value in headers:
        place = SIGNING_HEADERS.get(name)
        if place is not None:
            if found[place] is not None:
                raise ProblemError("unsigned_request", f"the header {name.decode()} stands there twice")
            found[place] = value.decode("latin-1")
    key_id, ts_ms, nonce, signature, idempotency_key = found
    if key_id is None or ts_ms is None or nonce is None or signature is None:
        raise ProblemError("unsigned_request", UNSIGNED)
    if not TIME_STAMP.fullmatch(ts_ms):
        raise ProblemError("unsigned_request", "the time stamp must be Unix milliseconds in plain digits")
    if not NONCE.fullmatch(nonce):
        raise ProblemError("unsigned_request", "the nonce must have 8 to 64 visible ASCII characters")
    if not SIGNATURE.fullmatch(signature):
        raise ProblemError("unsigned_request", "the signature must be 128 lower-case hex digits")
    return key_id, ts_ms, nonce, signature, idempotency_key or ""


def signed_request_of(request: Request, body: bytes) -> SignedRequest:
    """Returns what a verified caller signed, so that others can check it. Raises `malformed_request`."""
    key_id, ts_ms, nonce, signature, idempotency_key = read_signing_headers(request.scope["headers"])
    try:
        return SignedRequest(
            key_id=key_id,
            method=request.scope["method"],
            path=request.scope["raw_path"].decode("latin-1"),
            query=request.scope["query_string"].decode("latin-1"),
            body=body.decode(),
            idempotency_key=idempotency_key,
            ts_ms=int(ts_ms),
            nonce=nonce,
            signature=signature,
        )
    except ValueError as error:
        raise ProblemError("malformed_request", "the request is too long to be kept as proof") from error


class Authenticator:
    """Verifies requests, each of which counts once, over restarts as well.

    Nonces are only in memory. An earlier run of this service accepted no time stamp later than `ahead_ms` after its
    end, so that this one accepts none up to `ahead_ms` after its own start.
    """

    def __init__(
        self,
        directory: KeyDirectory,
        window_ms: int,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        check_node: NodeCheck = refuse_node,
        ahead_ms: int = signing.AHEAD_MS_DEFAULT,
        requests_per_s: int = 500,
    ):
        self._budget = Budget("requests", requests_per_s, BURST_S)
        self._directory, self._now_ms, self._check_node = directory, now_ms, check_node
        self._window_ms = min(window_ms, signing.WINDOW_MS_MAX)
        self._ahead_ms = min(ahead_ms, self._window_ms)
        self._nonces = NonceMemory(self._window_ms)
        self._opened_ms = now_ms() + self._ahead_ms

    def verify(
        self,
        method: str,
        path: str,
        query: str,
        body: bytes,
        headers: Headers,
        client: str | None,
        budget: Budget | EitherBudget | None = None,
    ) -> Caller:
        """Checks one request's signature; path and query are as sent. Raises ProblemError with 401 or 403.

        A key that has nothing left of the `budget` that the request would be taken from is told so (429) before its
        signature costs anything. Nothing is taken: whose request it is nobody knows yet.
        """
        key_id, ts_text, nonce, signature, idempotency_key = read_signing_headers(headers)
        key, now_ms, ts_ms = self._key(key_id, client), self._now_ms(), int(ts_text)
        self._check_time(ts_ms, now_ms)
        if budget is not None:
            budget.check(key_id, SPENT)
        text = signing.request_text(method, path, query, body, ts_text, nonce, key_id, idempotency_key)
        if not signature_holds(key.public_key, signature, text):
            raise ProblemError("bad_request_signature", "the signature does not fit this request")
        if not self._nonces.take(key_id, nonce, ts_ms, now_ms):
            raise ProblemError("nonce_used", "each nonce counts once")
        if key.node is not None:
            self._check_node(key.node, method, unquote(path), query, body)
        return Caller(key.account, key_id, frozenset(key.scopes), key.order_limit_micros, key.node)

    def verify_new_key(self, request: SignedRequest, key: ApiKeySet) -> None:
        """Checks a request that is signed by the key that it brings. Raises ProblemError with 401."""
        now_ms = self._now_ms()
        self._check_time(request.ts_ms, now_ms)
        if not signature_holds(key.public_key, request.signature, text_of(request)):
            raise ProblemError("bad_request_signature", "the signature does not fit this request")
        if not self._nonces.take(key.key_id, request.nonce, request.ts_ms, now_ms):
            raise ProblemError("nonce_used", "each nonce counts once")

    def verify_request(self, request: Request, body: bytes, budget: Budget | EitherBudget | None = None) -> Caller:
        """Checks the signature of a request that is being served and would be taken from a budget."""
        # Not `request.url`, which a Host header of the caller's could break.
        scope = request.scope
        path, query = scope["raw_path"].decode("latin-1"), scope["query_string"].decode("latin-1")
        return self.verify(scope["method"], path, query, body, scope["headers"], client_address(scope), budget)

    def _check_time(self, ts_ms: int, now_ms: int) -> None:
        if not now_ms - self._window_ms <= ts_ms <= now_ms + self._ahead_ms:
            detail = f"from {self._window_ms} ms before to {self._ahead_ms} ms after {now_ms}"
            raise ProblemError("timestamp_outside_window", detail, retryable=True)
        if ts_ms <= self._opened_ms or self._nonces.is_forgotten(ts_ms):
            detail = "signed before this service took requests: sign again with the time of now"
            raise ProblemError("timestamp_outside_window", detail, retryable=True)

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
            found = self.verify_request(request, await request.body(), self._budget)
            self._budget.require(found.key_id, SPENT)
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
    for route in iter_route_contexts(app.routes):  # those that routers bring too, which `routes` alone does not show
        if not isinstance(route.original_route, APIRoute) or route.path in OPEN_PATHS:
            continue
        declared = any(getattr(d.call, "declares_scope", False) for d in route.dependant.dependencies)
        if not declared and not getattr(route.endpoint, "is_public", False):
            raise RouteWithoutScope(route.path)
