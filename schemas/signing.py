"""What is signed: a user's HTTP request, and a service's batch of privileged commands. Keys are raw Ed25519, hex on
the wire.
"""

from hashlib import sha256

KEY_HEADER = "Hourbook-Key"
TIMESTAMP_HEADER = "Hourbook-Timestamp"
NONCE_HEADER = "Hourbook-Nonce"
SIGNATURE_HEADER = "Hourbook-Signature"
IDEMPOTENCY_HEADER = "Idempotency-Key"
WINDOW_MS_DEFAULT = 5_000
WINDOW_MS_MAX = 60_000
AHEAD_MS_DEFAULT = 1_000


def request_text(
    method: str,
    path: str,
    query: str,
    body: bytes,
    ts_ms: int | str,
    nonce: str,
    key_id: str,
    idempotency_key: str = "",
) -> bytes:
    """Returns the bytes an API key signs: one line each for method, path, query, SHA-256 of the body,
    `Idempotency-Key`, ts_ms, nonce, key id.

    Path and query are as sent, percent-encoding and order included; without a query or an idempotency key its line is
    empty. No line can hold a line feed, so that two requests never have one text.
    """
    lines = (method, path, query, sha256(body).hexdigest(), idempotency_key, str(ts_ms), nonce, key_id)
    return "\n".join(("hourbook-request-v2", *lines)).encode("latin-1")


def batch_text(source: str, number: int, commands: bytes) -> bytes:
    """Returns the bytes a service signs for one privileged batch; `commands` is the canonical JSON array as it stands
    in the record.
    """
    return f"hourbook-batch-v1\n{source}\n{number}\n".encode() + commands


def enrolment_text(account: str, token_id: str, expires_ms: int, nodes: int = 1) -> bytes:
    """Returns the bytes the gateway signs for an enrolment token; one for several nodes says for how many."""
    if nodes == 1:
        return f"hourbook-enrolment-v1\n{account}\n{token_id}\n{expires_ms}".encode()
    return f"hourbook-enrolment-v2\n{account}\n{token_id}\n{expires_ms}\n{nodes}".encode()


def node_key_text(token_id: str, public_key: str) -> bytes:
    """Returns the bytes a node signs to get its own key at the gateway."""
    return f"hourbook-node-key-v1\n{token_id}\n{public_key}".encode()
