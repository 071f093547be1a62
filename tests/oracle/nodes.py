"""Nodes: heartbeats and GPUs behind asks; and GPUs that are for sale themselves, with the buyer's money in escrow."""

from typing import Any

from schemas.vouchers import is_cash
from tests.oracle import orders
from tests.oracle.trading import cancel, reduce
from tests.oracle.world import Thing, World, held, need, start_of, terms_of

# -- nodes


def register_node(w: World, command: Any) -> None:
    """Takes a node's facts; its asks shrink to what it has. [H-4]"""
    uuids, name = [gpu.uuid for gpu in command.gpus], command.node
    need(len({*uuids}) == len(uuids), "bad_terms")
    for uuid in uuids:
        need(w.gpu_nodes.get(uuid, name) == name, "gpu_registered_elsewhere")
        if uuid in w.for_sale and w.gpu_nodes.get(uuid) != name:
            listing = w.for_sale[uuid]
            buyers = [each.buyer for each in w.escrows.values() if (each.listing, each.state) == (listing, "released")]
            need(w.listings[listing].state == "sold" and buyers[:1] == [command.account], "gpu_not_free")
    node, facts = w.nodes.get(name), (command.account, command.grade, command.hub)
    if node is None:
        node = w.nodes[name] = Thing(account="", grade="", hub="", level="", gpus=[], alive=False, until=0)
    elif (node.account, node.grade, node.hub) != facts:
        need(not asks_of(w, name) and not any(sold(w, name).values()), "wrong_state")
    for uuid in node.gpus:
        del w.gpu_nodes[uuid]
    for uuid in uuids:
        w.gpu_nodes[uuid] = name
        if uuid in w.for_sale and w.listings[w.for_sale[uuid]].state == "sold":
            del w.for_sale[uuid]
    (node.account, node.grade, node.hub), node.level, node.gpus = facts, command.level, uuids
    w.emit("node_registered", **command.model_dump(exclude={"type", "gpus"}), gpus=command.gpus)
    shrink_asks(w, name, "node_down")


def asks_of(w: World, name: str) -> list[Thing]:
    return sorted((each for each in w.live.values() if each.node == name), key=lambda each: each.id)


def sold(w: World, name: str) -> dict[int, int]:
    """The GPUs of a node that positions need, by delivery start."""
    counts: dict[int, int] = {}
    for each in w.positions.values():
        known = w.contracts[each.contract]
        if each.node == name and known.state in ("OPEN", "LOCKED", "DELIVERING"):
            counts[known.start] = counts.get(known.start, 0) + each.qty
    return counts


def shrink_asks(w: World, name: str, reason: str) -> None:
    """Where a node promises more than it has for rent, its newest asks give way."""
    for ask in reversed(asks_of(w, name)):
        excess = orders.committed(w, name, start_of(ask.contract)) - orders.rentable(w, w.nodes[name])
        if excess > 0:
            lot = terms_of(w, ask.contract).lot
            reduce(w, ask, min(ask.left, -(-excess // lot) * lot), reason)


def keep_alive(w: World, command: Any) -> None:
    for name in command.nodes:
        node = w.nodes.get(name)
        if node:
            node.until = max(node.until, command.until_ms)
            if not node.alive and node.until > w.now:
                node.alive = True
                w.emit("node_liveness_changed", node=name, alive=True, reason="heartbeat")


def take_down(w: World, command: Any) -> None:
    need(command.node in w.nodes, "unknown_node")
    w.nodes[command.node].until = w.now
    pull_asks(w, command.node, "node_down", command.reason)


def pull_asks(w: World, name: str, reason: str, why: str) -> None:
    """A node's asks go, with an event before them. [M-18]"""
    w.nodes[name].alive = False
    w.emit("node_liveness_changed", node=name, alive=False, reason=why)
    for ask in asks_of(w, name):
        cancel(w, ask, reason)


def start_epoch(w: World, command: Any) -> None:
    need(command.epoch > w.epoch, "stale_epoch")
    w.epoch = command.epoch
    for node in w.nodes.values():
        node.until = max(node.until, w.now + 30_000) if node.alive else node.until
    w.emit("epoch_started", epoch=command.epoch)


# -- used hardware


def lock_hardware(w: World, command: Any) -> None:
    """Takes GPUs off their node for sale. [H-1]"""
    need(command.listing_id not in w.listings, "wrong_state")
    need(0 < len({*command.gpus}) == len(command.gpus), "bad_terms")
    leaving: dict[str, int] = {}
    for uuid in command.gpus:
        name = w.gpu_nodes.get(uuid)
        need(name is not None, "unknown_gpu")
        need(w.nodes[name].account == command.account, "not_the_owner")
        serves = [each for each in w.positions.values() if uuid in each.gpus]
        busy = any(w.contracts[each.contract].state in ("LOCKED", "DELIVERING") for each in serves)
        need(uuid not in w.for_sale and not busy, "gpu_not_free")
        leaving[name] = leaving.get(name, 0) + 1
    for name, gpus in leaving.items():
        need(max(sold(w, name).values(), default=0) <= orders.rentable(w, w.nodes[name]) - gpus, "gpu_not_free")
    w.listings[command.listing_id] = Thing(account=command.account, gpus=command.gpus, state="listed")
    w.for_sale |= dict.fromkeys(command.gpus, command.listing_id)
    w.emit("hardware_locked", **command.model_dump(exclude={"type"}))
    for name in sorted(leaving):
        shrink_asks(w, name, "hardware_listed")


def unlock_hardware(w: World, command: Any) -> None:
    """A listing ended without a sale. [H-2]"""
    need(command.listing_id in w.listings, "unknown_listing")
    listing = w.listings[command.listing_id]
    need(listing.state == "listed", "wrong_state")
    listing.state = "unlocked"
    for uuid in listing.gpus:
        del w.for_sale[uuid]
    w.emit("hardware_unlocked", listing_id=command.listing_id)


def open_escrow(w: World, command: Any) -> None:
    need(command.listing_id in w.listings, "unknown_listing")
    listing = w.listings[command.listing_id]
    need(command.escrow_id not in w.escrows and listing.state == "listed", "wrong_state")
    need(listing.account == command.seller, "not_the_owner")
    need(command.buyer != command.seller and command.fee_micros <= command.amount_micros, "bad_terms")
    need(is_cash(command.asset), "not_cash")
    w.need_money(command.buyer, command.asset, command.amount_micros)
    listing.state = "in_escrow"
    fields = {"asset": command.asset, "amount": command.amount_micros, "fee": command.fee_micros, "state": "open"}
    w.escrows[command.escrow_id] = Thing(listing=command.listing_id, buyer=command.buyer, **fields)
    postings = w.post(held(command.buyer, command.asset, command.amount_micros))
    w.emit("escrow_opened", **command.model_dump(exclude={"type"}), postings=postings)


def end_escrow(w: World, command: Any) -> None:
    """Released, the seller is paid and the GPUs leave their node; refunded, the buyer has all of it back. [H-3]"""
    need(command.escrow_id in w.escrows, "unknown_escrow")
    escrow = w.escrows[command.escrow_id]
    need(escrow.state == "open", "wrong_state")
    listing, names = w.listings[escrow.listing], {"escrow_id": command.escrow_id, "listing_id": escrow.listing}
    if command.type == "refund_escrow":
        escrow.state, listing.state = "refunded", "listed"
        w.emit("escrow_refunded", **names, postings=w.post(held(escrow.buyer, escrow.asset, -escrow.amount)))
        return
    escrow.state, listing.state = "released", "sold"
    for uuid in listing.gpus:
        name = w.gpu_nodes.pop(uuid, None)
        if name is not None:
            w.nodes[name].gpus.remove(uuid)
    paid = (listing.account, escrow.asset, escrow.amount - escrow.fee, 0)
    moves = (escrow.buyer, escrow.asset, 0, -escrow.amount), paid, ("venue", escrow.asset, escrow.fee, 0)
    w.emit("escrow_released", **names, postings=w.post(*moves))
