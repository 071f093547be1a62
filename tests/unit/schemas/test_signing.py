"""The signed text: the test vectors of the protocol's page, and no two requests with one text."""

import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.signing import request_text

PAGE = Path(__file__).resolve().parents[3] / "docs" / "protocols" / "rest.md"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
VECTOR = re.compile(
    r"(?P<method>[A-Z]+) (?P<path>[^?\s]+)(\?(?P<query>\S+))?"
    r"(\nIdempotency-Key: (?P<idempotency_key>\S+))?(\n\n(?P<body>.+))?\n→ (?P<signature>[0-9a-f]{128})\n"
)


def vectors() -> list[dict[str, str]]:
    block = PAGE.read_text().partition("```vectors\n")[2].partition("```")[0]
    return [{name: text or "" for name, text in found.groupdict().items()} for found in VECTOR.finditer(block)]


@pytest.mark.parametrize("vector", vectors(), ids=lambda each: f"{each['method']} {each['path']}?{each['query']}")
def test_the_protocols_page_shows_the_signature_of_each_request(vector):
    signature, body = vector["signature"], vector["body"].encode()
    parts = (vector["method"], vector["path"], vector["query"], body)
    text = request_text(*parts, 1795351800000, "6f1f0c5f9bb64c0e", "k-test", vector["idempotency_key"])
    assert KEY.sign(text).hex() == signature


def test_the_page_has_a_request_of_each_kind_and_ids_that_need_encoding():
    found = {(each["method"], each["path"], each["query"], each["idempotency_key"]) for each in vectors()}
    assert found == {
        ("GET", "/v1/orders", "status=open&limit=2", ""),
        ("GET", "/v1/orders/by-client-id/desk%2F7%3Da+b", "", ""),
        ("DELETE", "/v1/orders", "client_order_id=desk%2F7%3Da%2Bb", ""),
        ("POST", "/v1/deposits", "", "deposit-1"),
    }


def test_a_key_that_is_named_as_a_time_stamp_does_not_make_one_text_of_two_requests():
    texts = {
        request_text("POST", "/v1/x", "", b"", 1, "nonce-01", "k", ""),
        request_text("POST", "/v1/x", "", b"", 1, "nonce-01", "k", "1"),
        request_text("POST", "/v1/x", "1", b"", 1, "nonce-01", "k", ""),
        request_text("POST", "/v1/x", "", b"1", 1, "nonce-01", "k", ""),
        request_text("POST", "/v1/x?", "", b"", 1, "nonce-01", "k", ""),
    }
    assert len(texts) == 5
