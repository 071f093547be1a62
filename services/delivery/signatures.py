"""Whose key signed a message: a node's own, or that of a renter's meter."""

from dataclasses import dataclass

from schemas.nodes import SignedMessage, signing_bytes
from schemas.renter import lease_of_renter
from services.delivery.domain import BadSignature, NotThisNode, UnknownNode
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


@dataclass(frozen=True)
class Prover:
    """Whoever answers a challenge to a node's GPUs, its agent or the renter of a lease, and the key that signs."""

    name: str
    node: Node
    public_key: str


async def find_prover(store: Store, name: str) -> Prover:
    """Returns the prover of a name. Raises UnknownNode."""
    lease_id = lease_of_renter(name)
    if lease_id is None:
        node = await store.node(name)
        return Prover(name, node, node.public_key)
    found = await store.renters.node_and_key(lease_id)
    if found is None:
        raise UnknownNode(name)
    node_id, public_key = found
    return Prover(name, await store.node(node_id), public_key)


async def signed_prover(pool: Pool, name: str, message: SignedMessage) -> Prover:
    """Returns the prover who signed a message. Raises NotThisNode, UnknownNode or BadSignature."""
    if message.agent != name:
        raise NotThisNode(f"the path names {name}, the message {message.agent}")
    prover = await find_prover(Store(pool), name)
    check_signature(message, prover.public_key)
    return prover
