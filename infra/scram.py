"""Passwords as servers keep them: salted and stretched (RFC 5802, SCRAM-SHA-256), so that none is sent to be set."""

import hashlib
import hmac
import os
from base64 import b64encode

ITERATIONS = 4_096
SALT_BYTES = 16


def new_salt() -> bytes:
    """Returns a salt for one password."""
    return os.urandom(SALT_BYTES)


def salted_password(password: str, salt: bytes) -> bytes:
    """Returns what a server derives both its keys from."""
    return hashlib.pbkdf2_hmac("sha256", password.encode(), salt, ITERATIONS)


def postgres_verifier(password: str) -> str:
    """Returns the password in the form that PostgreSQL keeps and takes."""
    salt = new_salt()
    salted = salted_password(password, salt)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    texts = (b64encode(part).decode() for part in (salt, stored, server))
    return "SCRAM-SHA-256${}:{}${}:{}".format(ITERATIONS, *texts)
