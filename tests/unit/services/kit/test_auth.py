"""Signed requests: what is let in, and the one code that each other kind of request gets."""

import itertools

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import APIRouter, FastAPI

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
from services.kit.limits import Budget, EitherBudget

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
    """Returns one that started two seconds ago, so that its clock's time is accepted."""
    directory = KeyDirectory()
    directory.put(published(**changes))
    clock.ms -= 2_000
    started = Authenticator(directory, window_ms=5_000, now_ms=clock, ahead_ms=1_000)
    clock.ms += 2_000
    return started


def signed(
    ts_ms: int,
    nonce: str = "nonce-0001",
    body: bytes = b"{}",
    key: Ed25519PrivateKey = KEY,
    idempotency_key: str = "",
) -> dict[str, str]:
    text = signing.request_text("POST", "/v1/orders", "b=2&a=1", body, ts_ms, nonce, "k1", idempotency_key)
    return {
        signing.KEY_HEADER: "k1",
        signing.TIMESTAMP_HEADER: str(ts_ms),
        signing.NONCE_HEADER: nonce,
        signing.SIGNATURE_HEADER: key.sign(text).hex(),
    } | ({signing.IDEMPOTENCY_HEADER: idempotency_key} if idempotency_key else {})


def lines_of(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]


def verify(
    subject: Authenticator,
    headers: dict[str, str],
    body: bytes = b"{}",
    path: str = "/v1/orders",
    query: str = "b=2&a=1",
    more: tuple[tuple[bytes, bytes], ...] = (),
) -> Caller:
    return subject.verify("POST", path, query, body, [*lines_of(headers), *more], "127.0.0.1")


def code_of(subject: Authenticator, headers: dict[str, str], **request) -> str:
    with pytest.raises(ProblemError) as refused:
        verify(subject, headers, **request)
    return refused.value.code


def test_a_signed_request_names_its_account_by_the_key_alone():
    caller = verify(authenticator(Clock(START_MS)), signed(START_MS))
    assert caller == Caller("trader-1", "k1", frozenset({"trade"}), 5)


def test_a_request_whose_body_was_changed_after_signing_is_refused():
    assert code_of(authenticator(Clock(START_MS)), signed(START_MS), body=b"{ }") == "bad_request_signature"


@pytest.mark.parametrize(
    "changed",
    [
        {"query": "a=1&b=2"},
        {"query": "b=2&a=%31"},
        {"query": ""},
        {"path": "/v1/%6Frders"},
        {"more": ((b"idempotency-key", b"another"),)},
    ],
)
def test_a_request_that_was_changed_in_any_byte_on_the_way_is_refused(changed):
    assert code_of(authenticator(Clock(START_MS)), signed(START_MS), **changed) == "bad_request_signature"


def test_the_idempotency_key_is_signed():
    subject, headers = authenticator(Clock(START_MS)), signed(START_MS, idempotency_key="pay-1")
    assert code_of(subject, headers | {signing.IDEMPOTENCY_HEADER: "pay-2"}) == "bad_request_signature"
    assert verify(subject, headers).account == "trader-1"


@pytest.mark.parametrize("name", [*signed(START_MS, idempotency_key="pay-1")])
def test_a_header_that_stands_there_twice_is_refused_even_with_the_same_value(name):
    headers = signed(START_MS, idempotency_key="pay-1")
    again = ((name.lower().encode(), headers[name].encode()),)
    assert code_of(authenticator(Clock(START_MS)), headers, more=again) == "unsigned_request"


@pytest.mark.parametrize(
    ("name", "written"),
    [
        (signing.SIGNATURE_HEADER, str.upper),
        (signing.SIGNATURE_HEADER, lambda text: f"{text[:64]} {text[64:]}"),
        (signing.SIGNATURE_HEADER, lambda text: f"{text}00"),
        (signing.TIMESTAMP_HEADER, lambda text: f"0{text}"),
        (signing.TIMESTAMP_HEADER, lambda text: f"+{text}"),
        (signing.TIMESTAMP_HEADER, lambda text: f"{text[:1]}_{text[1:]}"),
        (signing.TIMESTAMP_HEADER, lambda text: f"{text}.0"),
        (signing.NONCE_HEADER, lambda text: text[:7]),
        (signing.NONCE_HEADER, lambda text: text.ljust(65, "0")),
        (signing.NONCE_HEADER, lambda text: f"{text}\n{text}"),
    ],
)
def test_signature_time_stamp_and_nonce_have_one_way_to_be_written(name, written):
    headers = signed(START_MS)
    changed = headers | {name: written(headers[name])}
    assert code_of(authenticator(Clock(START_MS)), changed) == "unsigned_request"


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


@pytest.mark.parametrize(("skew_ms", "is_taken"), [(-5_001, False), (-5_000, True), (1_000, True), (1_001, False)])
def test_a_time_stamp_outside_the_window_is_refused(skew_ms, is_taken):
    clock = Clock(START_MS)
    subject = authenticator(clock)
    clock.ms += 60_000
    if is_taken:
        assert verify(subject, signed(clock.ms + skew_ms)).account == "trader-1"
    else:
        assert code_of(subject, signed(clock.ms + skew_ms)) == "timestamp_outside_window"


@pytest.mark.parametrize("ahead_ms", [0, 1_000, 5_000])
@pytest.mark.parametrize("down_ms", [0, 1, 700, 4_000])
def test_no_request_that_one_run_took_is_taken_by_the_next(ahead_ms, down_ms):
    clock, directory = Clock(START_MS), KeyDirectory()
    directory.put(published())
    first = Authenticator(directory, 5_000, clock, ahead_ms=ahead_ms)
    clock.ms += 20_000
    stamps = range(clock.ms - 5_000, clock.ms + ahead_ms + 1, 500)
    requests = [signed(ts_ms, nonce=f"nonce-{ts_ms}") for ts_ms in stamps]
    for request in requests:
        verify(first, request)
    clock.ms += down_ms
    second = Authenticator(directory, 5_000, clock, ahead_ms=ahead_ms)
    for _ in range(24):
        clock.ms += 500
        assert {code_of(second, request) for request in requests} == {"timestamp_outside_window"}


def test_the_next_run_takes_requests_that_are_signed_once_it_is_open():
    clock = Clock(START_MS)
    directory = KeyDirectory()
    directory.put(published())
    subject = Authenticator(directory, 5_000, clock, ahead_ms=1_000)
    clock.ms += 1_001
    assert code_of(subject, signed(clock.ms - 1)) == "timestamp_outside_window"
    assert verify(subject, signed(clock.ms)).account == "trader-1"


@pytest.mark.parametrize("back_ms", [1_000, 8_000, 20_000, 3_600_000])
def test_no_request_counts_again_when_the_clock_is_set_back(back_ms):
    clock = Clock(START_MS + 100_000_000)
    subject = authenticator(clock)
    requests = []
    for _ in range(40):
        clock.ms += 500
        requests.append(signed(clock.ms, nonce=f"nonce-{clock.ms}"))
        verify(subject, requests[-1])
    clock.ms -= back_ms
    for _ in range(20):
        clock.ms += 1_000
        assert {code_of(subject, request) for request in requests} <= {"timestamp_outside_window", "nonce_used"}


def test_a_revoked_an_expired_and_an_unknown_key_are_refused():
    clock = Clock(START_MS)
    assert code_of(authenticator(clock, revoked=True), signed(START_MS)) == "unknown_key"
    assert code_of(authenticator(clock, expires_ms=START_MS), signed(START_MS)) == "key_expired"
    assert code_of(authenticator(clock, key_id="other"), signed(START_MS)) == "unknown_key"


def test_a_key_with_an_address_list_works_from_there_alone():
    clock = Clock(START_MS)
    assert code_of(authenticator(clock, ip_networks=("10.0.0.0/8",)), signed(START_MS)) == "address_not_allowed"
    assert verify(authenticator(clock, ip_networks=("127.0.0.0/8",)), signed(START_MS)).key_id == "k1"


def test_a_nodes_own_key_is_refused_wherever_no_rule_says_what_it_may_do():
    subject = authenticator(Clock(START_MS), node="node-1")
    assert code_of(subject, signed(START_MS)) == "scope_missing"


def test_a_scope_that_the_key_lacks_is_refused_and_admin_has_them_all():
    with pytest.raises(ProblemError, match="scope_missing"):
        check_scope(Caller("a", "k", frozenset({"read"}), None), "trade")
    check_scope(Caller("a", "k", frozenset({"admin"}), None), "trade")


@pytest.mark.parametrize("way", ["on the application", "by a router"])
def test_a_route_without_a_declared_scope_fails_at_start_up(way):
    app, router = FastAPI(), APIRouter()
    adds = app if way == "on the application" else router

    @adds.get("/v1/open")
    @public
    async def open_route() -> None: ...

    app.include_router(router)
    refuse_undeclared_routes(app)

    @adds.get("/v1/forgotten")
    async def forgotten() -> None: ...

    with pytest.raises(RouteWithoutScope, match="/v1/forgotten"):
        refuse_undeclared_routes(app)


def test_nothing_revives_a_key_or_puts_another_under_its_id():
    directory, key = KeyDirectory(), published()
    directory.put(key)
    directory.put(published(public_key="0" * 64))
    directory.put(published(scopes=("admin",)))
    assert directory.get("k1") == key
    directory.put(published(public_key="0" * 64, revoked=True))
    assert directory.get("k1") == key
    directory.put(published(revoked=True))
    directory.put(key)
    assert directory.get("k1") == published(revoked=True)


def test_a_key_that_has_nothing_left_is_told_so_before_its_signature_and_no_stranger_spends_what_it_has():
    subject, second = authenticator(Clock(START_MS)), Clock(100)
    budget, nonces = Budget("orders", per_s=1, burst_s=2, clock=second), itertools.count()

    def said(signature: str | None = None) -> str:
        headers = signed(START_MS, f"nonce-{next(nonces):04}")
        headers |= {signing.SIGNATURE_HEADER: signature} if signature else {}
        try:
            subject.verify("POST", "/v1/orders", "b=2&a=1", b"{}", lines_of(headers), "127.0.0.1", budget)
        except ProblemError as refusal:
            return refusal.code
        budget.require("k1", "spent")
        return "served"

    forged = "0" * 128
    assert [said(forged) for _ in range(9)] == ["bad_request_signature"] * 9
    assert [said(), said(), said(), said(forged)] == ["served", "served", "too_many_requests", "too_many_requests"]
    second.ms += 1
    assert [said(forged), said(), said()] == ["bad_request_signature", "served", "too_many_requests"]


def test_a_batch_is_refused_before_its_signature_once_all_that_it_may_be_taken_from_is_spent():
    subject, clock, nonces = authenticator(Clock(START_MS)), Clock(100), itertools.count()
    orders, cancels = (Budget(name, per_s=1, burst_s=1, clock=clock) for name in ("orders", "cancels"))

    def said() -> str:
        headers = signed(START_MS, f"nonce-{next(nonces):04}") | {signing.SIGNATURE_HEADER: "0" * 128}
        either = EitherBudget(orders, cancels)
        with pytest.raises(ProblemError) as refusal:
            subject.verify("POST", "/v1/orders", "b=2&a=1", b"{}", lines_of(headers), "127.0.0.1", either)
        return refusal.value.code

    heard = [said()]
    for budget in (cancels, orders):
        budget.require("k1", "spent")
        heard.append(said())
    assert heard == ["bad_request_signature", "bad_request_signature", "too_many_requests"]
