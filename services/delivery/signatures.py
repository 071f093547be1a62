"""Whether a node's own key signed a message."""

from schemas.nodes import SignedMessage, signing_bytes
from services.delivery.domain import BadSignature, NotThisNode
from services.delivery.store import Node, Store
from services.kit.keys import signature_holds
from services.kit.store import Pool


def check_signature(message: SignedMessage, public_key: str) -> None:
    """Raises BadSignature unless the key's owner signed the message."""
    if not signature_holds(public_key, message.signature, signing_bytes(message)):
        raise BadSignature(f"the {message.purpose} message is not signed by the node's key")


async def signed_node(pool: Pool, node_id: str, message: SignedMessage) -> Node:
    """Returns the node that signed a message. Raises NotThisNode, UnknownNode or BadSignature."""
    if message.agent != node_id:
        raise NotThisNode(f"the path names {node_id}, the message {message.agent}")
    node = await Store(pool).node(node_id)
    check_signature(message, node.public_key)
    return node
