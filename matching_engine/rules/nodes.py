"""Nodes: who owns them, whether their heartbeats are fresh, and how many of their GPUs are promised in each period."""

from matching_engine.rules import cancels, counts
from matching_engine.rules.market import Market
from matching_engine.rules.refusals import require
from matching_engine.rules.state import Node
from schemas.events import NodeLivenessChanged, NodeRegistered
from schemas.venue import Epoch, NodeDown, NodesAlive, RegisterNode

EPOCH_EXTENSION_MS = 30_000


def register_node(market: Market, command: RegisterNode) -> None:
    """Takes a node's facts. Asks that fewer GPUs cannot back any more shrink; what is sold stays promised."""
    uuids = [gpu.uuid for gpu in command.gpus]
    require(len(set(uuids)) == len(uuids), "bad_terms")
    node = market.state.nodes.get(command.node)
    for uuid in uuids:
        require(market.gpu_nodes.get(uuid, command.node) == command.node, "gpu_registered_elsewhere")
        require_enrollable(market, command, uuid)
    if node is None:
        node = market.state.nodes[command.node] = Node(command.account, command.grade, command.hub, command.level, [])
    elif (node.account, node.grade, node.hub) != (command.account, command.grade, command.hub):
        require(not market.store.asks_of(command.node) and not node.sold, "wrong_state")
    record_facts(market, command, node, uuids)
    market.emit(
        NodeRegistered,
        node=command.node,
        account=command.account,
        grade=command.grade,
        hub=command.hub,
        level=command.level,
        gpus=command.gpus,
    )
    shrink_asks(market, command.node, "node_down")


def require_enrollable(market: Market, command: RegisterNode, uuid: str) -> None:
    """A sold GPU becomes free when its new owner enrols it; one that is for sale joins no other node. [H-4]"""
    listing_id = market.state.for_sale.get(uuid)
    if listing_id is None or market.gpu_nodes.get(uuid) == command.node:
        return
    require(market.state.listings[listing_id].state == "sold", "gpu_not_free")
    require(buyer_of(market, listing_id) == command.account, "gpu_not_free")


def buyer_of(market: Market, listing_id: str) -> str | None:
    """Who bought a sold listing."""
    escrows = market.state.escrows.values()
    return next((each.buyer for each in escrows if (each.listing_id, each.state) == (listing_id, "released")), None)


def record_facts(market: Market, command: RegisterNode, node: Node, uuids: list[str]) -> None:
    for uuid in node.gpus:
        del market.gpu_nodes[uuid]
    for uuid in uuids:
        market.gpu_nodes[uuid] = command.node
        listing_id = market.state.for_sale.get(uuid)
        if listing_id is not None and market.state.listings[listing_id].state == "sold":
            del market.state.for_sale[uuid]
    node.account, node.grade, node.hub, node.level = command.account, command.grade, command.hub, command.level
    node.gpus = uuids


# -- heartbeats


def keep_alive(market: Market, command: NodesAlive) -> None:
    """Heartbeats until a log time; nodes that were never registered are passed over."""
    for name in command.nodes:
        node = market.state.nodes.get(name)
        if node is None:
            continue
        node.until_ms = max(node.until_ms, command.until_ms)
        if not node.alive and node.until_ms > market.now_ms:
            node.alive = True
            market.emit(NodeLivenessChanged, node=name, alive=True, reason="heartbeat")


def handle_node_down(market: Market, command: NodeDown) -> None:
    """The node lost its fitness to sell: its asks are pulled at once."""
    node = counts.find_node(market, command.node)
    node.until_ms = market.now_ms
    pull_asks(market, command.node, "node_down", command.reason)


def go_stale(market: Market, name: str) -> None:
    """No heartbeat in time: the asks are pulled, with an event. [M-18]"""
    pull_asks(market, name, "stale_heartbeat", "stale_heartbeat")


def pull_asks(market: Market, name: str, reason: str, why: str) -> None:
    market.state.nodes[name].alive = False
    market.emit(NodeLivenessChanged, node=name, alive=False, reason=why)
    for order in market.store.asks_of(name):
        cancels.cancel_order(market, order, reason)


def start_epoch(market: Market, command: Epoch) -> None:
    """A new engine process: nodes that were alive have 30 s for their next heartbeat to arrive."""
    require(command.epoch > market.state.epoch, "stale_epoch")
    market.state.epoch = command.epoch
    for node in market.state.nodes.values():
        if node.alive:
            node.until_ms = max(node.until_ms, market.now_ms + EPOCH_EXTENSION_MS)


# -- fewer GPUs than promised


def shrink_asks(market: Market, name: str, reason: str) -> None:
    """Lets the newest asks give way in every period in which the node promises more GPUs than it has for rent."""
    node = market.state.nodes[name]
    limit = counts.rentable(market.state, node)
    for order in reversed(market.store.asks_of(name)):
        known = market.state.contracts[order.contract]
        excess = node.committed.get(known.start_s, 0) - limit
        if excess > 0:
            lot = market.terms_of(order.contract).lot
            cancels.reduce_order(market, order, min(order.left, -(-excess // lot) * lot), reason)
