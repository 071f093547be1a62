"""What becomes of a node: what the engine is told of it, and what everyone is told."""

from collections.abc import Collection, Mapping
from dataclasses import astuple

from schemas.delivery import NodeStateChanged
from schemas.gpu_health import BLIND, GpuHealth
from schemas.ids import lot_of
from schemas.nodes import NodeReported
from schemas.venue import NodeDown, NodeGpu, NodesAlive, RegisterNode
from services.delivery.domain import memory_min_mib, next_fitness, sellable_gpus
from services.delivery.settings import Settings
from services.delivery.store import Node, Store, node_of

BARRED = ("quarantined", "banned")
RETIRED = "retired"
OUT = (*BARRED, RETIRED)
LEVEL_PROVEN = "T1"


async def activate(store: Store, settings: Settings, node: Node, proven: Collection[str], now_ms: int) -> None:
    """The node has proven GPUs: it may sell the fit ones among them, at once if its last report is fresh."""
    fit = sellable_gpus(node.grade, await store.fitness(node.node_id))
    gpus = tuple(uuid for uuid in fit if uuid in proven or uuid in node.registered_gpus)
    if not gpus or (lot_of(node.grade) > 1 and gpus != fit):
        return
    if gpus == node.registered_gpus and node.state == "active":
        return
    held = await store.rows("open_holds", node.node_id)
    level = node.level if held else proven_level(node)
    level = min(level, settings.level_max(node.grade, node.simulated))
    liveness_ms = settings.liveness_ms(settings.limits(node.period_ms))
    await _register(store, node, level, gpus, "challenge_passed", now_ms)
    if node.last_live_ms is not None and now_ms - node.last_live_ms < liveness_ms:
        await store.command(NodesAlive(nodes=(node.node_id,), until_ms=node.last_live_ms + liveness_ms))


def proven_level(node: Node) -> str:
    """Returns the level of a node that has proven its GPUs, where nothing holds it."""
    return max(node.level, LEVEL_PROVEN)


async def set_level(store: Store, node: Node, level: str, reason: str, now_ms: int) -> None:
    """Changes a node's level; asks that are placed from now on hold the bond of the new one."""
    if level == node.level:
        return
    if node.state == "active":
        await _register(store, node, level, node.registered_gpus, reason, now_ms)
        return
    await store.run("set_node_state", node.node_id, node.state, level, node.reason, list(node.registered_gpus))
    fields = {"state": node.state, "level": level, "reason": reason, "gpus": ()}
    await store.publish(NodeStateChanged, node.node_id, now_ms, **fields)


async def take_down(store: Store, node: Node, state: str, reason: str, now_ms: int) -> None:
    """The node may not sell: its asks are pulled by the engine. Whatever it sold before it still has to serve."""
    level = "T0" if state in BARRED else node.level
    await store.run("set_node_state", node.node_id, state, level, reason, [])
    if node.registered_gpus:
        await store.command(NodeDown(node=node.node_id, reason=reason))
    if state in BARRED and await store.value("has_hours_ahead", node.node_id, now_ms):
        await _tell_level(store, node, level)
    if (node.state, node.reason) != (state, reason):
        fields = {"state": state, "level": level, "reason": reason, "gpus": ()}
        await store.publish(NodeStateChanged, node.node_id, now_ms, **fields)


async def _tell_level(store: Store, node: Node, level: str) -> None:
    """Tells the engine the level of a node that may not sell any more: at the gates to come it decides about pay."""
    gpus = await store.gpus(node.node_id)
    uuids = node.registered_gpus or tuple(gpu.uuid for gpu in gpus if not (gpu.is_listed or gpu.is_freed))
    await store.command(_registration(node, level, uuids, {gpu.uuid: gpu.serial for gpu in gpus}))


async def withdraw_unproven(store: Store, node: Node, failed: Collection[str], reason: str, now_ms: int) -> None:
    """Takes GPUs whose proof failed out of the market; they are challenged again before they come back."""
    left = tuple(uuid for uuid in node.registered_gpus if uuid not in failed)
    if left and left != node.registered_gpus and lot_of(node.grade) == 1:
        await _register(store, node, node.level, left, reason, now_ms)
    elif left != node.registered_gpus or not left:
        await take_down(store, node, "enrolled", reason, now_ms)


async def bar_unprovable(store: Store, settings: Settings, now_ms: int) -> None:
    """Takes nodes out of the market that were enrolled when the settings were others: those of the stand-in library
    where it is not accepted any more, which a person has to review, and those of a grade that has no band now.
    """
    for row in await store.rows("nodes_at_work"):
        node = node_of(row)
        reason = settings.unprovable(node.grade, node.simulated)
        if reason:
            await store.challenges.void_of_node(node.node_id)
            await take_down(store, node, "quarantined" if node.simulated else "enrolled", reason, now_ms)


async def withdraw_gpus(store: Store, node: Node, gone: set[str], reason: str, now_ms: int) -> None:
    """Takes GPUs that are gone for good out of what the node sells; the engine knows of them already."""
    left = tuple(uuid for uuid in node.registered_gpus if uuid not in gone)
    if left == node.registered_gpus:
        return
    if left and sellable_gpus(node.grade, await store.fitness(node.node_id)):
        await _register(store, node, node.level, left, reason, now_ms)
    else:
        await take_down(store, node, "lost", reason, now_ms)


async def take_health(
    store: Store, node: Node, known: dict[str, GpuHealth], record: NodeReported
) -> tuple[dict[str, GpuHealth], bool]:
    """Takes what a report says of the node's GPUs; fewer fit ones leave the market at once, more must prove first.

    Returns their health now, and whether the node itself has changed.
    """
    report = record.report
    whole_node = lot_of(node.grade) > 1
    after = next_fitness(known, report.gpus, report.boot_id, memory_min_mib(node.grade), whole_node)
    for uuid, health in after.items():
        before = known[uuid]
        if health is not before and health != before:
            await store.run("set_gpu_health", uuid, *astuple(health))
    if node.state != "active":
        return after, False
    if not whole_node and all(uuid in after and after[uuid].is_sellable for uuid in node.registered_gpus):
        return after, False
    market = {uuid: _for_the_market(known[uuid], now) for uuid, now in after.items()}
    sellable = sellable_gpus(node.grade, market)
    left = tuple(uuid for uuid in node.registered_gpus if uuid in sellable)
    if left == node.registered_gpus:
        return after, False
    reason = next(state.fault or state.degraded for state in market.values() if not state.is_sellable)
    if left:
        await _register(store, node, node.level, left, reason, record.received_ms)
    else:
        await take_down(store, node, "lost", reason, record.received_ms)
    return after, True


def _for_the_market(before: GpuHealth, now: GpuHealth) -> GpuHealth:
    """Returns the health that decides about a GPU's asks: a driver that was slow for one report takes none of them."""
    return before if now.fault == BLIND and before.fault != BLIND else now


async def _register(store: Store, node: Node, level: str, gpus: tuple[str, ...], reason: str, now_ms: int) -> None:
    serials = {row.uuid: row.serial for row in await store.gpus(node.node_id)}
    await store.run("set_node_state", node.node_id, "active", level, reason, list(gpus))
    await store.command(_registration(node, level, gpus, serials))
    fields = {"state": "active", "level": level, "reason": reason, "gpus": gpus}
    await store.publish(NodeStateChanged, node.node_id, now_ms, **fields)


def _registration(node: Node, level: str, gpus: tuple[str, ...], serials: Mapping[str, str]) -> RegisterNode:
    entries = tuple(NodeGpu(uuid=uuid, serial=serials[uuid]) for uuid in gpus)
    facts = {"account": node.account, "grade": node.grade, "hub": node.hub, "level": level}
    return RegisterNode(node=node.node_id, **facts, gpus=entries)
