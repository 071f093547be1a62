"""Signed requests: what is let in, and the one code that each other kind of request gets."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI

from schemas import signing
from schemas.accounts import ApiKeySet
from services.kit.auth import (
    Authenticator,
    Caller,
    KeyDirectory,
    RouteWithoutScope,
    check_scope,
    public,
    refuse_undeclared_routes,
)
from services.kit.http import ProblemError

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
START_MS = 1_000_000


class Clock:
    """A clock that stands where it is put."""

    def __init__(self, ms: int):
        self.ms = ms

    def __call__(self) -> int:
        return self.ms


def published(**changes) -> ApiKeySet:
    fields = {
        "key_id": "k1",
        "account": "trader-1",
        "public_key": KEY.public_key().public_bytes_raw().hex(),
        "scopes": ("trade",),
        "expires_ms": None,
        "ip_networks": (),
        "order_limit_micros": 5,
        "revoked": False,
    }
    return ApiKeySet(**fields | changes)


def authenticator(clock: Clock, **changes) -> Authenticator:
    directory = KeyDirectory()
    directory.put(published(**changes))
    return Authenticator(directory, window_ms=5_000, now_ms=clock)


def signed(ts_ms: int, nonce: str = "nonce-0001", body: bytes = b"{}", key: Ed25519PrivateKey = KEY) -> dict[str, str]:
    text = signing.request_text("POST", "/v1/orders", "b=2&a=1", body, ts_ms, nonce, "k1")
    return {
        signing.KEY_HEADER: "k1",
        signing.TIMESTAMP_HEADER: str(ts_ms),
        signing.NONCE_HEADER: nonce,
        signing.SIGNATURE_HEADER: key.sign(text).hex(),
    }


def verify(subject: Authenticator, headers: dict[str, str], body: bytes = b"{}", query: str = "a=1&b=2") -> Caller:
    return subject.verify("POST", "/v1/orders", query, body, headers, "127.0.0.1")


def code_of(subject: Authenticator, headers: dict[str, str], **request) -> str:
    with pytest.raises(ProblemError) as refused:
        verify(subject, headers, **request)
    return refused.value.code


def test_a_signed_request_names_its_account_by_the_key_alone_and_its_query_in_any_order():
    caller = verify(authenticator(Clock(START_MS)), signed(START_MS))
    assert caller == Caller("trader-1", "k1", frozenset({"trade"}), 5)


def test_a_request_whose_body_was_changed_after_signing_is_refused():
    assert code_of(authenticator(Clock(START_MS)), signed(START_MS), body=b"{ }") == "bad_request_signature"


def test_a_request_signed_by_another_key_is_refused():
    headers = signed(START_MS, key=Ed25519PrivateKey.generate())
    assert code_of(authenticator(Clock(START_MS)), headers) == "bad_request_signature"


@pytest.mark.parametrize("missing", [signing.KEY_HEADER, signing.NONCE_HEADER, signing.SIGNATURE_HEADER])
def test_a_request_without_one_of_its_headers_counts_as_unsigned(missing):
    headers = signed(START_MS)
    del headers[missing]
    assert code_of(authenticator(Clock(START_MS)), headers) == "unsigned_request"


def test_a_nonce_counts_once_within_the_window():
    subject = authenticator(Clock(START_MS))
    verify(subject, signed(START_MS))
    assert code_of(subject, signed(START_MS)) == "nonce_used"


def test_a_refused_signature_does_not_use_the_nonce_up():
    subject = authenticator(Clock(START_MS))
    assert code_of(subject, signed(START_MS), body=b"[]") == "bad_request_signature"
    assert verify(subject, signed(START_MS)).account == "trader-1"


@pytest.mark.parametrize("skew_ms", [-5_001, 5_001])
def test_a_time_stamp_outside_the_window_is_refused(skew_ms):
    clock = Clock(START_MS)
    subject = authenticator(clock)
    clock.ms += 60_000
    assert code_of(subject, signed(clock.ms + skew_ms)) == "timestamp_outside_window"


def test_a_request_from_before_the_start_is_refused_since_its_nonce_may_have_been_used():
    assert code_of(authenticator(Clock(START_MS)), signed(START_MS - 1_001)) == "timestamp_outside_window"


def test_a_revoked_an_expired_and_an_unknown_key_are_refused():
    clock = Clock(START_MS)
    assert code_of(authenticator(clock, revoked=True), signed(START_MS)) == "unknown_key"
    assert code_of(authenticator(clock, expires_ms=START_MS), signed(START_MS)) == "key_expired"
    assert code_of(authenticator(clock, key_id="other"), signed(START_MS)) == "unknown_key"


def test_a_key_with_an_address_list_works_from_there_alone():
    clock = Clock(START_MS)
    assert code_of(authenticator(clock, ip_networks=("10.0.0.0/8",)), signed(START_MS)) == "address_not_allowed"
    assert verify(authenticator(clock, ip_networks=("127.0.0.0/8",)), signed(START_MS)).key_id == "k1"


def test_a_scope_that_the_key_lacks_is_refused_and_admin_has_them_all():
    with pytest.raises(ProblemError, match="scope_missing"):
        check_scope(Caller("a", "k", frozenset({"read"}), None), "trade")
    check_scope(Caller("a", "k", frozenset({"admin"}), None), "trade")


def test_a_route_without_a_declared_scope_fails_at_start_up():
    app = FastAPI()

    @app.get("/v1/open")
    @public
    async def open_route() -> None: ...

    refuse_undeclared_routes(app)

    @app.get("/v1/forgotten")
    async def forgotten() -> None: ...

    with pytest.raises(RouteWithoutScope, match="/v1/forgotten"):
        refuse_undeclared_routes(app)
