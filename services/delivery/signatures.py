"""Whether a node's own key signed a message."""

from schemas.nodes import SignedMessage, signing_bytes
from services.delivery.domain import BadSignature
from services.kit.keys import signature_holds


def check_signature(message: SignedMessage, public_key: str) -> None:
    """Raises BadSignature unless the key's owner signed the message."""
    if not signature_holds(public_key, message.signature, signing_bytes(message)):
        raise BadSignature(f"the {message.purpose} message is not signed by the node's key")
