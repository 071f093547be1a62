"""The gate of a contract: GPUs are nominated, leases prepared, and every GPU that is not in use proves itself."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from schemas.gpu_health import BLIND
from schemas.ids import product_of
from schemas.venue import NominateGpus, Nomination
from services.delivery.domain import UnknownNode
from services.delivery.joint_gates import has_company, hold_back
from services.delivery.leases import RESTORED, Lease, SoldPosition, block_end_ms, continues, lease_id_of, nominate
from services.delivery.nodes import BARRED
from services.delivery.proofs import issue_challenge
from services.delivery.settings import Settings
from services.delivery.store import Node, Store
from services.delivery.store.leases import RestoredState


@dataclass
class Gate:
    """One contract's gate on one node: what runs there, how long its answers may take, and when it was to close."""

    node: Node
    now_ms: int
    deadline_ms: int
    closes_ms: int
    before: dict[int, Lease] = field(default_factory=dict)
    gpus_in_use: frozenset[str] = frozenset()


async def open_gate(store: Store, settings: Settings, contract: str, now_ms: int) -> None:
    """Prepares delivery of all positions of a locked contract, node by node."""
    positions = await store.positions.of_contract(contract)
    product = await store.positions.product(product_of(contract))
    for node_id in sorted({position.node for position in positions}):
        own = [position for position in positions if position.node == node_id]
        deadline_ms = answer_deadline_ms(own[0].start_ms, product.gate_ms, now_ms)
        try:
            node = await store.node(node_id, lock=True)
            gate = Gate(node, now_ms, deadline_ms, own[0].start_ms - product.gate_ms)
            await _open_on_node(store, settings, own, gate)
        except UnknownNode:
            structlog.get_logger().error("sold on a node that never enrolled", contract=contract, node=node_id)


def answer_deadline_ms(start_ms: int, gate_ms: int, now_ms: int) -> int:
    """Returns until when a gate's challenge may be answered: the start, unless the venue itself came late."""
    venue_is_late = now_ms > start_ms - gate_ms // 2
    return now_ms + gate_ms if venue_is_late else start_ms


async def _open_on_node(store: Store, settings: Settings, positions: Sequence[SoldPosition], gate: Gate) -> None:
    node = gate.node
    gpus = [gpu for gpu in await store.gpus(node.node_id) if not gpu.is_freed]
    # A degraded GPU, or one that came back and is not proven yet, serves what was sold before, after the others. Of one
    # whose driver did not answer just now the challenge says more than the report.
    proven = set(node.registered_gpus) or {gpu.uuid for gpu in gpus}
    gpus.sort(key=lambda gpu: (gpu.fitness.fault == BLIND, bool(gpu.fitness.degraded), gpu.uuid not in proven))
    usable = [gpu.uuid for gpu in gpus if gpu.fitness.fault in ("", BLIND) and not gpu.is_listed]
    fit = usable if node.state not in BARRED else []
    gate.before = await _leases_before(store, positions)
    running = [lease for lease, _ in await store.leases.of_node(node.node_id)]
    gate.gpus_in_use = frozenset(
        uuid
        for lease in running
        if lease.state in ("pending", "ready", "started") and lease.ends_ms > gate.now_ms
        for uuid in lease.gpus
    )
    served = {position_id: lease.gpus for position_id, lease in gate.before.items()}
    chosen = nominate(positions, fit, served)
    # The engine takes a nomination only in full; a position that goes short is leased and metered all the same.
    full = [Nomination(position_id=p.position_id, gpus=chosen[p.position_id]) for p in positions if _is_full(p, chosen)]
    # One GPU that the engine does not have would have all the node's nominations refused.
    full = [each for each in full if proven.issuperset(each.gpus)]
    if full:
        contract = positions[0].contract
        await store.command(NominateGpus(contract=contract, node=gate.node.node_id, nominations=tuple(full)))
    for position in positions:
        if position.position_id in chosen:
            await _lease_out(store, settings, gate, position, chosen[position.position_id])


def _is_full(position: SoldPosition, chosen: dict[int, tuple[str, ...]]) -> bool:
    return len(chosen.get(position.position_id, ())) == position.qty


async def _leases_before(store: Store, positions: Sequence[SoldPosition]) -> dict[int, Lease]:
    """Returns the leases in which positions' blocks were served in the hour before, each for one position."""
    before: dict[int, Lease] = {}
    for position in positions:
        if position.block_id is None:
            continue
        own = [position.position_id for position in positions]
        claimed = {lease.lease_id for lease in before.values()}
        free = [each for each in await store.leases.before(position, own) if each.lease_id not in claimed]
        free.sort(key=lambda lease: (len(lease.gpus) != position.qty, lease.lease_id))
        if free:
            before[position.position_id] = free[0]
    return before


async def _take_answers(store: Store, position: SoldPosition, lease_id: str, now_ms: int) -> bool:
    """Takes what the hook answered when this lease was handed out before the database was lost; False if nothing is
    known of it and it is still to come.

    It was due when the node had proven its GPUs, where that was after the start.
    """
    answers = await store.leases.kept_answers(lease_id, position.node)
    is_over = position.end_ms <= now_ms
    if "start" not in answers:
        if is_over:
            await store.leases.set_state(lease_id, "failed", "lost")
        return is_over
    start, stop = answers["start"], answers.get("stop")
    opened_ms = start.received_ms if start.ok else None
    stopped_ms = stop.received_ms if stop else None
    # Whoever was in until the hour's end may have been in for the block's next ones too, whose gates come again.
    was_cut_short = stopped_ms is not None and stopped_ms < position.end_ms
    state = "failed" if not start.ok else "ended" if was_cut_short else "started"
    reason = "start_hook_failed" if not start.ok else RESTORED if is_over else ""
    restored = RestoredState(state, opened_ms, stopped_ms, start.endpoint, reason, start.host_key)
    await store.leases.restore(lease_id, restored)
    proven_ms = answers["proof"].received_ms if "proof" in answers else 0
    await store.positions.offer_at(lease_id, min(start.received_ms, max(position.start_ms, proven_ms)))
    return True


async def _lease_out(
    store: Store, settings: Settings, gate: Gate, position: SoldPosition, gpus: tuple[str, ...]
) -> None:
    lease = gate.before.get(position.position_id)
    if continues(lease, position, gpus):
        await store.leases.extend(lease.lease_id, position)
        offered_ms = min(gate.now_ms, position.start_ms)
        await store.positions.lock(position.position_id, gpus, lease.lease_id, offered_ms)
        return
    lease_id = lease_id_of(position.position_id)
    block = await store.positions.of_block(position.block_id, position.node)
    await store.leases.insert(lease_id, position, gpus, block_end_ms(position, block))
    await store.positions.lock(position.position_id, gpus, lease_id, gate.now_ms)
    if await _take_answers(store, position, lease_id, gate.now_ms):
        return
    idle = [uuid for uuid in gpus if uuid not in gate.gpus_in_use]
    if idle and (reason := settings.unprovable(gate.node.grade, gate.node.simulated)):
        await store.leases.set_state(lease_id, "failed", reason)
    elif idle:
        await store.challenges.void_idle(gate.node.node_id)
        asked = (gate.node, "gate", idle, gate.now_ms, gate.deadline_ms, lease_id)
        challenge = await issue_challenge(store, settings, *asked)
        if await has_company(store, settings, gate.node.account, gate.node.node_id, gate.closes_ms):
            await hold_back(store, settings, gate.node.node_id, challenge, gate.closes_ms)
    else:
        await store.leases.set_state(lease_id, "ready")
