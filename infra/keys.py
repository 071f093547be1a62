"""The services' Ed25519 keys and the venue operator's first API key: made once, each readable by its owner alone."""

import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

OWNERS = ("admin", "matching", "ledger", "delivery", "listings", "market_data", "gateway")
OPERATOR_API_KEY = "admin-api"


def make_keys(folder: Path) -> None:
    """Write `<owner>.ed25519` (the 32-byte seed in hex, 0600) and `<owner>.pub` for every owner that has none, and
    for the operator of the venue.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    for owner in (*OWNERS, OPERATOR_API_KEY):
        private = folder / f"{owner}.ed25519"
        if not private.exists():
            write_private(private, Ed25519PrivateKey.generate().private_bytes_raw().hex())
        (folder / f"{owner}.pub").write_text(f"{public_key(private)}\n")


def write_private(path: Path, text: str) -> None:
    """Write a file that is never readable by others, and is there whole or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"{text}\n")
    partial.rename(path)


def public_key(private: Path) -> str:
    """The public half, in hex, of the seed in the file."""
    seed = bytes.fromhex(private.read_text().strip())
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw().hex()
