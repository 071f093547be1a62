"""Buyers' SSH keys: one line of a known type that really is a key; anything else is refused with its reason."""

import base64
import struct

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from services.delivery.ssh_keys import BadSshKey, read_ssh_key


def line_of(private) -> str:
    return private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def packed(*parts: bytes) -> str:
    return base64.b64encode(b"".join(struct.pack(">I", len(part)) + part for part in parts)).decode()


ED25519 = line_of(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
BODY = ED25519.split()[1]
RAW = base64.b64decode(BODY)
SK = "sk-ssh-ed25519@openssh.com"
SK_LINE = f"{SK} {packed(SK.encode(), RAW[-32:], b'ssh:')}"


@pytest.mark.parametrize(
    "line",
    [
        ED25519,
        SK_LINE,
        line_of(ec.generate_private_key(ec.SECP256R1())),
        line_of(ec.generate_private_key(ec.SECP384R1())),
        line_of(ec.generate_private_key(ec.SECP521R1())),
        line_of(rsa.generate_private_key(65_537, 2048)),
    ],
)
@pytest.mark.parametrize("comment", ["", " bob@laptop", "  bob at home  "])
def test_a_key_of_a_known_type_is_kept_as_one_line(line, comment):
    key = read_ssh_key(f"{line}{comment}\n")
    assert key.line == f"{line} {comment.strip()}".strip()
    assert read_ssh_key(key.line) == key


def test_the_fingerprint_is_the_one_that_openssh_says():
    key = read_ssh_key(ED25519)
    assert key.fingerprint == "SHA256:" + base64.b64encode(bytes.fromhex(key.key_id)).decode().rstrip("=")
    assert len(key.key_id) == 64


@pytest.mark.parametrize(
    "text, reason",
    [
        ("", "begins with none of"),
        ("hello", "begins with none of"),
        (f'command="rm -rf /" {ED25519}', "options are not taken"),
        (f"no-pty {ED25519}", "options are not taken"),
        (f"{ED25519}\n{ED25519}", "one line"),
        (f"{ED25519}\0", "one line"),
        (f"{ED25519} a\rb", "one line"),
        (f"{ED25519} a\u2028b", "one line"),
        ("ssh-ed25519", "not base64"),
        ("ssh-ed25519 !!!!", "not base64"),
        ("ssh-ed25519 AAAA", "not base64"),
        (f"ssh-rsa {BODY}", "not a key of type ssh-rsa"),
        (f"ssh-ed25519 {BODY[:-8]}", "not a key of type"),
        (f"ssh-ed25519 {base64.b64encode(RAW + b'more').decode()}", "not a key of type"),
        (f"ssh-ed25519 {packed(b'ssh-ed25519', b'short')}", "not a key of type"),
        (line_of(rsa.generate_private_key(65_537, 1024)), "an RSA key of 1024 bits"),
        (line_of(dsa.generate_private_key(1024)), "begins with none of"),
        (ED25519 + " " + "c" * 5_000, "longer than"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "begins with none of"),
    ],
)
def test_what_is_no_key_is_refused_with_its_reason(text, reason):
    with pytest.raises(BadSshKey, match=reason):
        read_ssh_key(text)


def test_a_long_comment_is_cut_and_changes_nothing_of_the_key():
    key = read_ssh_key(f"{ED25519} {'c' * 1_000}")
    assert (len(key.comment), key.key_id) == (128, read_ssh_key(ED25519).key_id)
