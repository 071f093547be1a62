"""Who the node is: an Ed25519 key made on the node, which never leaves it, and the boot it runs in."""

import logging
import re
import stat
from pathlib import Path
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from agents.node.client import ApiKey
from agents.node.config import AgentConfig
from agents.node.errors import BadConfiguration, BadState
from agents.node.files import CONTROLS, problems_of
from agents.node.state import StateFolder, reason_of
from schemas.accounts import EnrolmentToken, NodeKeyForm
from schemas.nodes import SignedMessage, node_id_of, signing_bytes
from schemas.signing import node_key_text

KEY_FILE = "node.key"
CHAIN_FILE = "chain.journal"
KEY_FORM = re.compile(r"[0-9a-fA-F]{64}")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
UNSIGNED = "0" * 128
WAY_BACK = (
    "put the node's own key back from a backup, or let its account retire the node and start with an empty state folder"
)

Message = TypeVar("Message", bound=SignedMessage)
log = logging.getLogger("hourbook.agent")


class Identity:
    """The node's key; `is_new` where it was made just now."""

    def __init__(self, key: Ed25519PrivateKey, is_new: bool = False) -> None:
        self._key, self.is_new = key, is_new
        self.public_key = key.public_key().public_bytes_raw().hex()

    @classmethod
    def load_or_make(cls, state: StateFolder) -> "Identity":
        """Reads the key from the state folder, or makes one there that only its owner may read. Raises BadState."""
        file = state.path / KEY_FILE
        try:
            is_new = not file.exists()
            if is_new:
                if (state.path / CHAIN_FILE).exists():
                    raise BadState(f"{file} is gone, but {CHAIN_FILE} tells of an enrolled node: {WAY_BACK}")
                state.write_bytes(KEY_FILE, Ed25519PrivateKey.generate().private_bytes_raw().hex().encode(), mode=0o600)
            _keep_private(file)
            text = file.read_bytes().decode("latin-1").strip()
        except OSError as error:
            raise BadState(f"{file}: {reason_of(error)}: the agent must be able to read and write it") from error
        if not KEY_FORM.fullmatch(text):
            raise BadState(f"{file} is damaged, it should be 64 hex digits: {WAY_BACK}")
        return cls(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(text)), is_new)

    def api_key(self) -> ApiKey:
        """Returns the node's key as it acts at the gateway, under the node's id."""
        return ApiKey(node_id_of(self.public_key), self._key)

    def node_key_form(self, token: EnrolmentToken) -> NodeKeyForm:
        """Returns what registers the node's key at the gateway."""
        text = node_key_text(token.token_id, self.public_key)
        return NodeKeyForm(token=token, public_key=self.public_key, signature=self._key.sign(text).hex())

    def sign(self, kind: type[Message], **fields: object) -> Message:
        """Makes a signed message of a kind. Control characters, which the venue takes in no text, become U+FFFD."""
        clean = {name: CONTROLS.sub("�", value) if isinstance(value, str) else value for name, value in fields.items()}
        unsigned = kind(**clean, signature=UNSIGNED)
        return unsigned.model_copy(update={"signature": self._key.sign(signing_bytes(unsigned)).hex()})

    def sign_as_told(self, kind: type[Message], **fields: object) -> Message:
        """Makes a signed message of what a person has typed. Raises BadConfiguration, which names what cannot be."""
        try:
            return self.sign(kind, **fields)
        except ValidationError as error:
            problems = tuple(problems_of(error.errors()))
            raise BadConfiguration("; ".join(problems), problems) from error


def acting_key(config: AgentConfig) -> ApiKey:
    """Returns the key that acts at the gateway: the operator's where one is named, else the node's own."""
    if config.api_key is not None:
        return config.operator_key()
    if not (config.state_dir / KEY_FILE).exists():
        raise BadConfiguration("the node has no key yet: it makes one at its first start")
    return Identity.load_or_make(StateFolder(config.state_dir)).api_key()


def _keep_private(file: Path) -> None:
    """Takes the key's file from everybody but its owner, and says so: whoever read it can sign as this node."""
    mode = stat.S_IMODE(file.stat().st_mode)
    if mode & 0o077:
        file.chmod(0o600)
        log.warning("%s could be read by others (mode %03o): it is private now; enroll again if one has", file, mode)


def boot_id() -> str:
    """Returns what changes with every boot of the machine."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError as error:
        words = "it identifies a boot, let the agent read it"
        raise BadState(f"{BOOT_ID}: {reason_of(error)}: {words}") from error
