"""The signed HTTP client that the command line and the demo use: httpx with our request signature and our problems."""

import secrets
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas import signing


class ApiError(Exception):
    """The exchange refused a request; the message is its problem in words, `problem` the whole document."""

    def __init__(self, status: int, problem: dict[str, Any]):
        super().__init__(f"{problem.get('code', status)}: {problem.get('detail', 'no reason given')}")
        self.status, self.problem = status, problem

    @property
    def code(self) -> str:
        """The problem's stable code."""
        return self.problem.get("code", "")


@dataclass(frozen=True)
class Credentials:
    """An API key: its id and the private half, which never leaves this process."""

    key_id: str
    private_key: Ed25519PrivateKey

    @property
    def public_key(self) -> str:
        """The public half in hex, as POST /v1/keys takes it."""
        return self.private_key.public_key().public_bytes_raw().hex()

    def sign(
        self, method: str, path: str, query: str = "", body: bytes = b"", idempotency_key: str = ""
    ) -> dict[str, str]:
        """Returns the four headers that sign one request now; path and query are as they will be sent."""
        ts_ms, nonce = time.time_ns() // 1_000_000, secrets.token_hex(12)
        text = signing.request_text(method, path, query, body, ts_ms, nonce, self.key_id, idempotency_key)
        return {
            signing.KEY_HEADER: self.key_id,
            signing.TIMESTAMP_HEADER: str(ts_ms),
            signing.NONCE_HEADER: nonce,
            signing.SIGNATURE_HEADER: self.private_key.sign(text).hex(),
        }

    def login(self, path: str = "/v1/ws") -> dict[str, str]:
        """Returns the first message of a private WebSocket session."""
        headers = self.sign("GET", path)
        names = {"key": signing.KEY_HEADER, "ts_ms": signing.TIMESTAMP_HEADER}
        names |= {"nonce": signing.NONCE_HEADER, "signature": signing.SIGNATURE_HEADER}
        return {"op": "login"} | {name: headers[header] for name, header in names.items()}


class Signature(httpx.Auth):
    """Signs each request of an httpx client, synchronous or not; a repeat is signed anew."""

    requires_request_body = True

    def __init__(self, credentials: Credentials):
        self._credentials = credentials

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Adds the headers."""
        path, _, query = request.url.raw_path.decode("ascii").partition("?")
        idempotency_key = request.headers.get(signing.IDEMPOTENCY_HEADER, "")
        request.headers.update(
            self._credentials.sign(request.method, path, query, request.content or b"", idempotency_key)
        )
        yield request


def new_credentials(key_id: str) -> Credentials:
    """Makes a fresh key pair."""
    return Credentials(key_id, Ed25519PrivateKey.generate())


def key_file(keys_dir: Path, key_id: str) -> Path:
    """Names the file that holds an API key's private half."""
    return keys_dir / f"{key_id}-api.ed25519"


def load_credentials(keys_dir: Path, key_id: str) -> Credentials:
    """Reads a private key (a 32-byte seed in hex). Raises FileNotFoundError or ValueError."""
    seed = bytes.fromhex(key_file(keys_dir, key_id).read_text().strip())
    return Credentials(key_id, Ed25519PrivateKey.from_private_bytes(seed))


def save_credentials(keys_dir: Path, credentials: Credentials) -> Path:
    """Writes the private half where only its owner can read it. Raises FileExistsError rather than overwrite one."""
    keys_dir.mkdir(parents=True, exist_ok=True)
    path = key_file(keys_dir, credentials.key_id)
    path.touch(mode=0o600, exist_ok=False)
    path.write_text(credentials.private_key.private_bytes_raw().hex() + "\n")
    return path


def open_client(url: str, credentials: Credentials | None = None, timeout_s: float = 10.0) -> httpx.Client:
    """Returns a client for one service's address; without credentials it sends unsigned requests."""
    return httpx.Client(base_url=url, auth=_auth(credentials), timeout=timeout_s)


def open_async_client(url: str, credentials: Credentials | None = None, timeout_s: float = 10.0) -> httpx.AsyncClient:
    """Returns the asynchronous client."""
    return httpx.AsyncClient(base_url=url, auth=_auth(credentials), timeout=timeout_s)


def result_of(response: httpx.Response) -> Any:
    """Returns the reply's JSON. Raises ApiError for a problem."""
    try:
        reply = response.json()
    except ValueError:
        reply = {"detail": response.text}
    if response.is_error:
        raise ApiError(response.status_code, reply)
    return reply


def pages(client: httpx.Client, path: str, **params: Any) -> Generator[dict[str, Any], None, None]:
    """Yields the items of a paged list, newest first, until the last page."""
    while True:
        page = result_of(client.get(path, params={name: value for name, value in params.items() if value is not None}))
        yield from page["items"]
        if page["cursor"] is None:
            return
        params["cursor"] = page["cursor"]


def _auth(credentials: Credentials | None) -> Signature | None:
    return Signature(credentials) if credentials else None
