"""Who the node is: an Ed25519 key made on the node, which never leaves it, and the boot it runs in."""

from pathlib import Path
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents.node.state import StateFolder
from schemas.nodes import SignedMessage, signing_bytes

KEY_FILE = "node.key"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
UNSIGNED = "0" * 128

Message = TypeVar("Message", bound=SignedMessage)


class Identity:
    """The node's key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public_key = key.public_key().public_bytes_raw().hex()

    @classmethod
    def load_or_make(cls, state: StateFolder) -> "Identity":
        """Reads the key from the state folder, or makes one there that only its owner may read."""
        file = state.path / KEY_FILE
        if not file.exists():
            state.write_bytes(KEY_FILE, Ed25519PrivateKey.generate().private_bytes_raw().hex().encode(), mode=0o600)
        return cls(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(file.read_text())))

    def sign(self, kind: type[Message], **fields: object) -> Message:
        """Makes a signed message of a kind."""
        unsigned = kind(**fields, signature=UNSIGNED)
        return unsigned.model_copy(update={"signature": self._key.sign(signing_bytes(unsigned)).hex()})


def boot_id() -> str:
    """Returns what changes with every boot of the machine."""
    return BOOT_ID.read_text().strip()
