"""Buyers' credentials at rest: sealed with a key of delivery's own, bound to their lease."""

import os
import secrets
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

NONCE_BYTES = 12


class CredentialBox:
    """Seals and opens credentials; another lease's id does not open them."""

    def __init__(self, key: bytes):
        self._cipher = ChaCha20Poly1305(key)

    @classmethod
    def load(cls, keys_dir: Path) -> "CredentialBox":
        """Reads the key `delivery.box` (hex), or makes it at the first start."""
        file = keys_dir / "delivery" / "delivery.box"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as target:
                target.write(secrets.token_hex(32))
        return cls(bytes.fromhex(file.read_text()))

    def seal(self, lease_id: str, credential: str) -> bytes:
        """Encrypts a credential."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, credential.encode(), lease_id.encode())

    def open(self, lease_id: str, sealed: bytes | None) -> str:
        """Decrypts a credential; "" where there is none (any more)."""
        if sealed is None:
            return ""
        return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], lease_id.encode()).decode()
