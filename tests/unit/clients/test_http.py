"""The signed client: what it sends is what the edges verify, and problems become refusals."""

import time

import httpx
import pytest

from clients.http import ApiError, load_credentials, new_credentials, open_client, pages, result_of, save_credentials
from clients.http import Signature as SignatureAuth
from schemas.accounts import ApiKeySet
from services.kit.auth import Authenticator, KeyDirectory


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/orders?status=open&limit=2", None),
        ("GET", "/v1/orders/by-client-id/a%2Fb+c@d", None),
        ("GET", "/v1/orders?client_order_id=a%2Fb%20c", None),
        ("POST", "/v1/orders", {"price": "12.84", "note": "Ningxia 宁夏"}),
    ],
)
def test_what_the_client_signs_is_what_an_edge_verifies(method, path, body):
    key, directory = new_credentials("k"), KeyDirectory()
    published = {"key_id": "k", "account": "alice", "public_key": key.public_key, "scopes": ("read",)}
    limits = {"expires_ms": None, "ip_networks": (), "order_limit_micros": None, "revoked": False}
    directory.put(ApiKeySet(**published, **limits))
    started = iter([0])
    edge = Authenticator(directory, 5_000, now_ms=lambda: next(started, time.time_ns() // 1_000_000))

    def serve(request: httpx.Request) -> httpx.Response:
        path, _, query = request.url.raw_path.decode().partition("?")
        headers = [(name.lower(), value) for name, value in request.headers.raw]
        caller = edge.verify(request.method, path, query, request.content, headers, "127.0.0.1")
        return httpx.Response(200, json={"account": caller.account})

    headers = {"Idempotency-Key": "once"}
    with httpx.Client(transport=httpx.MockTransport(serve), base_url="http://x", auth=SignatureAuth(key)) as client:
        assert result_of(client.request(method, path, json=body, headers=headers)) == {"account": "alice"}


def test_a_private_key_is_kept_for_its_owner_alone_and_never_written_over(tmp_path):
    key = new_credentials("alice")
    path = save_credentials(tmp_path / "keys", key)
    assert (path.name, path.stat().st_mode & 0o777) == ("alice-api.ed25519", 0o600)
    assert load_credentials(tmp_path / "keys", "alice").public_key == key.public_key
    with pytest.raises(FileExistsError):
        save_credentials(tmp_path / "keys", new_credentials("alice"))


def test_a_problem_becomes_a_refusal_with_its_code_and_words():
    problem = {"code": "off_tick", "detail": "the price is not a multiple of the product's tick"}
    with pytest.raises(ApiError, match="off_tick: the price is not") as refusal:
        result_of(httpx.Response(422, json=problem))
    assert (refusal.value.code, refusal.value.status) == ("off_tick", 422)


def test_a_list_is_read_to_its_last_page():
    rows = {None: ([3, 2], "a"), "a": ([1], None)}

    def serve(request: httpx.Request) -> httpx.Response:
        items, cursor = rows[request.url.params.get("cursor")]
        return httpx.Response(200, json={"items": items, "cursor": cursor, "seq": 9})

    with httpx.Client(transport=httpx.MockTransport(serve), base_url="http://x") as client:
        assert list(pages(client, "/v1/orders", status=None)) == [3, 2, 1]


def test_a_client_without_credentials_signs_nothing():
    with open_client("http://x") as client:
        assert client.auth is None
