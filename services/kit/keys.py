"""Ed25519 keys on disk and on the wire, as hex: `<keys>/<name>/` is for its owner alone, `<keys>/public/` for all."""

import re
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from nacl.bindings import crypto_sign_open
from nacl.exceptions import CryptoError

SIGNATURE = re.compile(r"[0-9a-f]{128}")
PUBLIC = "public"


def load_private_key(keys_dir: Path, name: str) -> Ed25519PrivateKey:
    """Reads `<name>/<name>.ed25519` (a 32-byte seed in hex). Raises FileNotFoundError or ValueError."""
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(private_key_file(keys_dir, name).read_text().strip()))


def load_public_key(keys_dir: Path, name: str) -> str:
    """Reads the public key in hex from `public/<name>.pub`. Raises FileNotFoundError."""
    return public_key_file(keys_dir, name).read_text().strip()


def private_key_file(keys_dir: Path, name: str) -> Path:
    """Returns where the owner's private key lies."""
    return keys_dir / name / f"{name}.ed25519"


def public_key_file(keys_dir: Path, name: str) -> Path:
    """Returns where everybody finds the public key."""
    return keys_dir / PUBLIC / f"{name}.pub"


def public_hex(key: Ed25519PrivateKey) -> str:
    """Returns the public half in hex."""
    return key.public_key().public_bytes_raw().hex()


def sign_hex(key: Ed25519PrivateKey, text: bytes) -> str:
    """Signs, and returns the signature in hex."""
    return key.sign(text).hex()


def signature_holds(public_key: str, signature: str, text: bytes) -> bool:
    """Says whether the signature, 128 lower-case hex digits, is this public key's over the text; anything else is no
    signature.

    By libsodium, which needs half the time of OpenSSL: this is the dearest step of an order's way through the gateway.
    """
    if not SIGNATURE.fullmatch(signature):  # `fromhex` passes over blanks and takes capitals
        return False
    try:
        crypto_sign_open(bytes.fromhex(signature) + text, bytes.fromhex(public_key))
    except (CryptoError, ValueError):
        return False
    return True
