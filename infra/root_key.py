"""The root key of an installation: it signs the venue's administrators and nothing else, and is used by hand alone.

Its private half lies outside the folders that services read, `<data>/root/root.ed25519` (0600), until its owner moves
it to where no machine of the venue reaches (docs/runbooks/root-key.md). Its public half lies beside the services' own.
"""

import secrets
import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from infra.keys import OPERATOR_API_KEY, public_key, write_private
from schemas.accounts import ADMIN_ACCOUNT, ALL_SCOPES, ROOT, SignedRequest
from schemas.rest import KeyForm
from schemas.signing import request_text
from services.kit.keys import PUBLIC, private_key_file, public_key_file

ADMIN_KEY_ID = "admin"
ADMIN_REQUEST = f"{OPERATOR_API_KEY}.request.json"


def root_file(keys_dir: Path) -> Path:
    """Where the root key's private half is made: beside the keys folder, not in it."""
    return private_key_file(keys_dir.parent, ROOT)


def make_root(keys_dir: Path) -> None:
    """Make the root key of a new installation and sign its first administrator; safe to run again.

    Once there is a public half, a missing private one is where its owner has put it.
    """
    public, private = public_key_file(keys_dir, ROOT), root_file(keys_dir)
    if not public.exists():
        private.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not private.exists():
            write_private(private, Ed25519PrivateKey.generate().private_bytes_raw().hex())
        public.write_text(f"{public_key(private)}\n")
    signed = keys_dir / PUBLIC / ADMIN_REQUEST
    if not signed.exists() and private.exists():
        admin = public_key(keys_dir / f"{OPERATOR_API_KEY}.ed25519")
        request = sign_admin(private, admin, ADMIN_KEY_ID)
        partial = signed.with_name(f"{signed.name}.partial")
        partial.write_bytes(request.canonical())
        partial.rename(signed)


def sign_admin(root: Path, admin_public_key: str, key_id: str) -> SignedRequest:
    """Sign, with the root key in the file, the request that registers an administrator's key."""
    form = KeyForm(account=ADMIN_ACCOUNT, public_key=admin_public_key, scopes=ALL_SCOPES, key_id=key_id)
    body, ts_ms, nonce = form.model_dump_json(), time.time_ns() // 1_000_000, secrets.token_hex(12)
    text = request_text("POST", "/v1/keys", "", body.encode(), ts_ms, nonce, ROOT)
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(root.read_text().strip()))
    return SignedRequest(
        key_id=ROOT,
        method="POST",
        path="/v1/keys",
        query="",
        body=body,
        idempotency_key="",
        ts_ms=ts_ms,
        nonce=nonce,
        signature=key.sign(text).hex(),
    )
