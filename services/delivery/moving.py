"""Machines that move: an account retires its node, or changes its GPUs, and may enrol what it has freed anew.

Honest operators get dead machines and replaced boards back without a person of the venue. A liar gets nothing: what is
quarantined or banned does not move, sold hours are served first, health goes with a GPU, every GPU is proven anew.
"""

from collections.abc import Iterable

from schemas.ids import lot_of
from schemas.nodes import GpuChange, GpuChangeReply, GpuInventory, GpusChanged, NodeReleased
from schemas.venue import RegisterNode
from services.delivery.domain import (
    NO_SERIAL,
    GpuElsewhere,
    Implausible,
    NodeBarred,
    NodeInUse,
    NodeRetired,
    NotThisNode,
    check_inventory,
)
from services.delivery.effects import Effects, now_ms
from services.delivery.nodes import BARRED, RETIRED, take_down, withdraw_gpus
from services.delivery.settings import Settings
from services.delivery.signatures import check_signature
from services.delivery.store import Node, NodeForReport, Store
from services.kit.outbox import PromptPublisher


class Moving:
    """Decides who may have which GPU, and takes GPUs out of nodes."""

    def __init__(self, settings: Settings, effects: Effects, publisher: PromptPublisher):
        self._settings, self._effects, self._publisher = settings, effects, publisher

    async def retire(self, store: Store, node_id: str, account: str, release_to: str) -> None:
        """Ends a node for good and frees its GPUs for an account, mostly its own. A repeat changes nothing."""
        node = await store.node(node_id, lock=True)
        if node.account != account:
            raise NotThisNode(f"{node_id} is not a node of {account}")
        await retire_node(store, node, release_to, now_ms())

    async def change_gpus(self, node_id: str, change: GpuChange) -> GpuChangeReply:
        """Takes the node's GPUs as they are now; new ones are proven before they are sold. A repeat changes nothing."""
        if change.agent != node_id:
            raise NotThisNode(f"the path names {node_id}, the message {change.agent}")
        received_ms, wanted = now_ms(), {gpu.uuid for gpu in change.gpus}
        async with self._effects.transaction() as store:
            await store.run("lock_enrolments")
            node = await store.node(node_id, lock=True)
            check_signature(change, node.public_key)
            check_not_out(node)
            if change.nvml_simulated != node.simulated:
                raise Implausible("the telemetry was another kind at enrolment")
            check_inventory(change.gpus, node.grade, node.simulated)
            own = {gpu.uuid for gpu in await store.gpus(node_id) if not gpu.is_freed}
            added, removed = sorted(wanted - own), sorted(own - wanted)
            if added or removed:
                await self._check_unused(store, node, removed)
                await store.run("free_gpus", removed, node.account)
                await claim_gpus(store, node.account, [gpu for gpu in change.gpus if gpu.uuid in added])
                for gpu in change.gpus:
                    if gpu.uuid in added:
                        await put_gpu(store, node_id, gpu, change.boot_id, received_ms)
                await self._tell_engine(store, node, set(removed), received_ms)
                await store.record(node_id, GpusChanged(node_id=node_id, received_ms=received_ms, request=change))
        await self._publisher.published()
        return GpuChangeReply(node_id=node_id, gpus=tuple(sorted(wanted)), added=tuple(added), removed=tuple(removed))

    async def clear_way(self, node_id: str, account: str, gpus: Iterable[GpuInventory]) -> None:
        """Retires other nodes of the account that hold these GPUs, sell nothing, and have been silent for long."""
        uuids, serials = names_of(gpus)
        heard_ms = now_ms() - self._settings.move_silence_ms
        async with self._effects.transaction() as store:
            for row in await store.rows("silent_holders", uuids, serials, account, heard_ms, node_id):
                node = await store.node(row["node_id"], lock=True)
                if node.state not in BARRED and not await store.value("is_in_use", node.node_id):
                    await retire_node(store, node, account, now_ms())

    async def _check_unused(self, store: Store, node: Node, removed: list[str]) -> None:
        used = [row["uuid"] for row in await store.rows("gpus_in_use", node.node_id, removed)]
        if used:
            raise NodeInUse(f"{', '.join(used)}: a buyer has it, or is about to; take it out when the hour is over")

    async def _tell_engine(self, store: Store, node: Node, removed: set[str], time_ms: int) -> None:
        if not removed.intersection(node.registered_gpus):
            return
        if lot_of(node.grade) > 1:
            await take_down(store, node, "lost", "gpus_changed", time_ms)
            await unregister(store, node)
        else:
            await withdraw_gpus(store, node, removed, "gpus_changed", time_ms)


async def retire_node(store: Store, node: Node, release_to: str, time_ms: int) -> None:
    """Ends a node, which is locked. Raises NodeBarred, or NodeInUse while something sold is not over."""
    if node.state in BARRED:
        raise NodeBarred(f"the node is {node.state}: {node.reason}")
    if await store.value("is_in_use", node.node_id):
        raise NodeInUse(f"{node.node_id} has sold hours that are not settled; withdraw its capacity and wait for them")
    if node.state != RETIRED:
        await take_down(store, node, RETIRED, "retired_by_account", time_ms)
        await unregister(store, node)
        await store.challenges.void_of_node(node.node_id)
    record = NodeReleased(node_id=node.node_id, received_ms=time_ms, release_to=release_to)
    await release_gpus(store, record)
    await store.record(node.node_id, record)


async def release_gpus(store: Store, record: NodeReleased) -> None:
    """Frees a retired node's GPUs for an account."""
    await store.run("free_gpus", [gpu.uuid for gpu in await store.gpus(record.node_id)], record.release_to)


async def restore_gpus(store: Store, record: GpusChanged) -> None:
    """Writes again what a change of GPUs wrote, where the table has it not."""
    node = await store.find_node(record.node_id)
    if node is None:
        return
    wanted = {gpu.uuid for gpu in record.request.gpus}
    own = {gpu.uuid for gpu in await store.gpus(record.node_id) if not gpu.is_freed}
    await store.run("free_gpus", sorted(own - wanted), node.account)
    for gpu in record.request.gpus:
        if gpu.uuid not in own:
            await put_gpu(store, record.node_id, gpu, record.request.boot_id, record.received_ms)


async def unregister(store: Store, node: Node) -> None:
    """Lets the engine forget the node's GPUs, so that another node may have them."""
    facts = {"account": node.account, "grade": node.grade, "hub": node.hub, "level": node.level}
    await store.command(RegisterNode(node=node.node_id, gpus=(), **facts))


async def claim_gpus(store: Store, account: str, gpus: Iterable[GpuInventory]) -> None:
    """Checks that an account may enrol GPUs. Raises GpuElsewhere with the way out."""
    uuids, serials = names_of(gpus)
    for holder in await store.rows("gpu_holders", uuids, serials):
        if holder["sold_to"] == account:
            continue
        words = f"{holder['uuid']} stands in the venue already"
        if holder["account"] == account and holder["state"] in BARRED:
            words += f", with your node {holder['node_id']}, which is {holder['state']} and waits for a review"
        elif holder["account"] == account:
            words += f", with your node {holder['node_id']}: retire that one, or take the GPU out of it"
        raise GpuElsewhere(words)
    await store.run("drop_renamed", uuids, serials)


async def put_gpu(store: Store, node_id: str, gpu: GpuInventory, boot_id: str, since_ms: int) -> None:
    """Writes a GPU of a node, unless another has it since later; its health goes with it."""
    await store.run("put_gpu", gpu.uuid, node_id, gpu.serial, gpu.canonical().decode(), boot_id, since_ms)


def names_of(gpus: Iterable[GpuInventory]) -> tuple[list[str], list[str]]:
    """Returns UUIDs and serials by which GPUs may be known already."""
    gpus = list(gpus)
    return [gpu.uuid for gpu in gpus], [gpu.serial for gpu in gpus if gpu.serial != NO_SERIAL]


def check_not_out(node: Node | NodeForReport) -> None:
    """Raises NodeBarred or NodeRetired."""
    if node.state in BARRED:
        raise NodeBarred(f"the node is {node.state}: {node.reason}")
    if node.state == RETIRED:
        raise NodeRetired(f"{node.node_id} is retired: the machine enrolls again with a new key")
