"""Reads buyers' public SSH keys: one line of a known type, without options, that really is a key."""

import base64
import binascii
import struct
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

TYPES = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)
RSA_BITS_MIN, RSA_BITS_MAX = 2048, 16_384
LINE_CHARS_MAX, COMMENT_CHARS_MAX = 4096, 128


class BadSshKey(ValueError):
    """The text is no key that may be kept; the message says why."""


@dataclass(frozen=True)
class SshKey:
    """A public key: its type, its wire form in base64, and the comment that its owner gave it."""

    type: str
    body: str
    comment: str

    @property
    def digest(self) -> bytes:
        """SHA-256 of the wire form."""
        return sha256(base64.b64decode(self.body)).digest()

    @property
    def key_id(self) -> str:
        """The key's name in our paths."""
        return self.digest.hex()

    @property
    def fingerprint(self) -> str:
        """The key's name as OpenSSH says it."""
        return "SHA256:" + base64.b64encode(self.digest).decode().rstrip("=")

    @property
    def line(self) -> str:
        """The key as one line of an authorized_keys file, without options."""
        return f"{self.type} {self.body} {self.comment}".rstrip()


def read_ssh_key(text: str) -> SshKey:
    """Reads one line as in a `.pub` file. Raises BadSshKey."""
    line = text.removesuffix("\n").removesuffix("\r")
    if len(line) > LINE_CHARS_MAX:
        raise BadSshKey(f"longer than {LINE_CHARS_MAX} characters")
    if not line.isprintable():
        raise BadSshKey("one line without control characters is wanted")
    kind, _, rest = line.strip(" ").partition(" ")
    body, _, comment = rest.strip(" ").partition(" ")
    if kind not in TYPES:
        raise BadSshKey(f"begins with none of {', '.join(TYPES)} (options are not taken)")
    _check_body(kind, body)
    return SshKey(kind, body, comment.strip(" ")[:COMMENT_CHARS_MAX])


def _check_body(kind: str, body: str) -> None:
    try:
        raw = base64.b64decode(body, validate=True)
        (length,) = struct.unpack(">I", raw[:4])
    except (binascii.Error, ValueError, struct.error) as error:
        raise BadSshKey("what follows the type is not base64") from error
    if raw[4 : 4 + length] != kind.encode() or base64.b64encode(raw).decode() != body:
        raise BadSshKey(f"what follows the type is not a key of type {kind}")
    try:
        key = load_ssh_public_key(f"{kind} {body}".encode())
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadSshKey(f"what follows the type is not a key of type {kind}") from error
    if isinstance(key, RSAPublicKey) and not RSA_BITS_MIN <= key.key_size <= RSA_BITS_MAX:
        raise BadSshKey(f"an RSA key of {key.key_size} bits, from {RSA_BITS_MIN} to {RSA_BITS_MAX} are taken")
