"""Requests that are not signed as they must be are refused with the reason, and change nothing."""

import time

import httpx
import pytest

from clients.http import Credentials, new_credentials
from schemas import signing
from tests.api.conftest import bid, problem_of

pytestmark = pytest.mark.usefixtures("nothing_changes")


def post_order(trader, headers: dict, body: bytes) -> tuple[int, str]:
    return problem_of(trader.client.post("/v1/orders", content=body, headers=headers, auth=None))


def form_bytes() -> bytes:
    return httpx.Request("POST", "http://x", json=bid()).content


def test_no_operation_that_changes_or_shows_anything_is_open_to_the_unsigned(trader):
    with httpx.Client(base_url=trader.client.base_url) as anyone:
        paths = anyone.get("/openapi.json").json()["paths"]
        answers = {}
        for path, methods in paths.items():
            for method in methods:
                url = path.replace("{", "").replace("}", "")
                body = b"{}" if method == "post" else None
                answers[f"{method} {path}"] = problem_of(anyone.request(method, url, content=body))
    # A new node has no key yet: the fleet's token and the node's own signature are in the body.
    assert answers.pop("post /v1/node-keys") == (400, "malformed_request")
    assert set(answers.values()) == {(401, "unsigned_request")}


def test_a_signature_over_another_body_does_not_fit(trader):
    headers = trader.key.sign("POST", "/v1/orders", body=form_bytes())
    other = form_bytes().replace(b"0.50", b"0.60")
    assert post_order(trader, headers, other) == (401, "bad_request_signature")


def test_a_signature_for_another_path_or_query_does_not_fit(trader):
    headers = trader.key.sign("DELETE", "/v1/orders", "client_order_id=other")
    answer = trader.client.delete("/v1/orders?client_order_id=resting", headers=headers, auth=None)
    assert problem_of(answer) == (401, "bad_request_signature")


def test_a_signature_of_another_key_does_not_fit(trader):
    imposter = Credentials(trader.key.key_id, new_credentials("x").private_key)
    body = form_bytes()
    headers = imposter.sign("POST", "/v1/orders", body=body)
    assert post_order(trader, headers, body) == (401, "bad_request_signature")


def test_a_key_that_nobody_registered_is_unknown(trader):
    body = form_bytes()
    headers = new_credentials("nobody").sign("POST", "/v1/orders", body=body)
    assert post_order(trader, headers, body) == (401, "unknown_key")


def test_a_nonce_counts_once(trader):
    path, body = "/v1/orders/cancel-all", b'{"product":"L40S48.CNE.F"}'
    headers = trader.key.sign("POST", path, body=body)
    first, again = [trader.client.post(path, content=body, headers=headers, auth=None) for _ in range(2)]
    assert (first.status_code, problem_of(again)) == (200, (401, "nonce_used"))


@pytest.mark.parametrize("shift_ms", [-60_000, 60_000])
def test_a_time_stamp_outside_the_window_is_refused(trader, shift_ms):
    body, nonce = form_bytes(), "0123456789abcdef"
    ts_ms = time.time_ns() // 1_000_000 + shift_ms
    text = signing.request_text("POST", "/v1/orders", "", body, ts_ms, nonce, trader.key.key_id)
    headers = {
        signing.KEY_HEADER: trader.key.key_id,
        signing.TIMESTAMP_HEADER: str(ts_ms),
        signing.NONCE_HEADER: nonce,
        signing.SIGNATURE_HEADER: trader.key.private_key.sign(text).hex(),
    }
    assert post_order(trader, headers, body) == (401, "timestamp_outside_window")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/orders", bid()),
        ("DELETE", "/v1/orders/1", None),
        ("DELETE", "/v1/orders?client_order_id=resting", None),
        ("POST", "/v1/orders/cancel-all", {}),
        ("POST", "/v1/accounts", {"account": "mine"}),
        ("POST", "/v1/keys", {"account": "mine", "public_key": "0" * 64, "scopes": ["admin"]}),
        ("POST", "/v1/enrolment-tokens", {}),
    ],
)
def test_a_key_does_only_what_its_scopes_say(reader, method, path, body):
    assert problem_of(reader.client.request(method, path, json=body)) == (403, "scope_missing")


def test_a_trader_cannot_post_an_operators_capacity(trader):
    window = {"from": "2026-11-22T13:00:00Z", "to": "2026-11-22T14:00:00Z"}
    form = {"kind": "capacity", "product": "APITEST80.CNE.F", "node": "n1", "gpus": 1, "floor_price": "1.00"}
    assert problem_of(trader.client.post("/v1/orders", json=form | window)) == (403, "scope_missing")
