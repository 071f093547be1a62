"""The secrets of an installation, a folder for each who has any: made once, each readable by its owner alone.

`<keys>/<owner>/` holds the owner's Ed25519 seed and passwords, `<keys>/public/` everybody's public keys. Files that end
in `-api.ed25519` are API keys of people, kept by the command line.
"""

import os
import secrets
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.kit.keys import PUBLIC, private_key_file, public_key_file

OWNERS = ("admin", "matching", "ledger", "delivery", "listings", "market_data", "gateway")
OPERATOR_API_KEY = "admin-api"
INFRA = "infra"


def make_keys(folder: Path) -> None:
    """Write `<owner>/<owner>.ed25519` (the 32-byte seed in hex, 0600) and `public/<owner>.pub` for every owner that has
    none, and for the operator of the venue, whose private half lies beside other people's; make the root key that signs
    the operator.
    """
    from infra.root_key import make_root  # which writes its files by the functions here

    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    (folder / PUBLIC).mkdir(mode=0o755, exist_ok=True)
    files = {owner: private_key_file(folder, owner) for owner in OWNERS}
    take_over_files(folder)
    for name, private in {**files, OPERATOR_API_KEY: folder / f"{OPERATOR_API_KEY}.ed25519"}.items():
        private.parent.mkdir(mode=0o700, exist_ok=True)
        private.parent.chmod(0o700)
        if not private.exists():
            write_private(private, Ed25519PrivateKey.generate().private_bytes_raw().hex())
        public_key_file(folder, name).write_text(f"{public_key(private)}\n")
    make_root(folder)


def take_over_files(folder: Path) -> None:
    """Move what older installations kept in one folder to its owner's, and remove their public copies."""
    for owner in OWNERS:
        for older in (folder / f"{owner}.ed25519", folder / f"{owner}.box"):
            if older.exists():
                (folder / owner).mkdir(mode=0o700, exist_ok=True)
                older.rename(folder / owner / older.name)
    for name in (*OWNERS, OPERATOR_API_KEY):
        (folder / f"{name}.pub").unlink(missing_ok=True)


def make_password(folder: Path, owner: str, server: str) -> str:
    """The owner's password at a server, from `<owner>/<server>.password` (0600); made on first use."""
    path = folder / owner / f"{server}.password"
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(path, secrets.token_urlsafe(24))
    return path.read_text().strip()


def keep_password(folder: Path, owner: str, server: str, password: str) -> None:
    """Write a password that was given, where `make_password` would have made one."""
    path = folder / owner / f"{server}.password"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(path, password)


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
