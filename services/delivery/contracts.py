"""What the event log means for delivery: positions from trades, leases at gates, settlements at ends, then receipts.

The cursor moves in the transaction of the effects.
"""

import json
from collections.abc import Awaitable, Callable

import structlog

from schemas.delivery import ReceiptIssued
from schemas.events import (
    AnyEvent,
    CommandRejected,
    ContractStateChanged,
    DifferenceHeld,
    DisputeOpened,
    EscrowOpened,
    EscrowReleased,
    HardwareLocked,
    HardwareUnlocked,
    PayoutHeld,
    PositionEnded,
    PositionFinalized,
    PositionSettled,
    ProductDefined,
    Trade,
)
from schemas.ids import contract_start_s, product_of
from schemas.reporting import gate_lead_min_s
from services.delivery import disputes
from services.delivery.effects import Effects, now_ms
from services.delivery.gate import open_gate
from services.delivery.handlers import fail_lease
from services.delivery.metrics import METERED_GPU_S
from services.delivery.nodes import OUT, take_down, withdraw_gpus
from services.delivery.receipts import receipt_of
from services.delivery.settings import Settings
from services.delivery.settling import standing_receipt
from services.delivery.store import Store
from services.kit import store as kit
from services.kit.doubts import doubting, is_passing
from services.kit.events import EventBatch

CONSUMER = "delivery"


async def take_batch(effects: Effects, settings: Settings, position: kit.Position, batch: EventBatch) -> kit.Position:
    """Takes a batch of events and moves the cursor with their effects; returns where the reader stands then.

    Where that fails, each event is taken by itself, and one that cannot be taken is told and left out.
    """
    try:
        return await _take(effects, settings, position, batch, _handle)
    except Exception as error:
        if is_passing(error):
            raise
        return await _take(effects, settings, position, batch, _handle_or_doubt)


async def _take(
    effects: Effects, settings: Settings, position: kit.Position, batch: EventBatch, handle: Callable
) -> kit.Position:
    after = batch.position
    async with effects.transaction() as store:
        for event in batch.events:
            await handle(store, settings, event)
        await kit.advance(store.connection, CONSUMER, settings.shard, position, after)
    return after


async def _handle(store: Store, settings: Settings, event: AnyEvent) -> None:
    handle = HANDLERS.get(type(event))
    if handle is not None:
        await handle(store, settings, event)


async def _handle_or_doubt(store: Store, settings: Settings, event: AnyEvent) -> None:
    acts, issued, taken = len(store.after_commit), len(store.issued), False
    async with doubting(store.connection, event.seq, event.type):
        await _handle(store, settings, event)
        taken = True
    if not taken:
        del store.after_commit[acts:], store.issued[issued:]


async def on_product(store: Store, settings: Settings, event: ProductDefined) -> None:
    """Takes a product's terms."""
    terms = event.terms
    await store.positions.put_product(terms)
    least_s = gate_lead_min_s(terms.period_s)
    if terms.gate_lead_s < least_s:
        fields = {"product": terms.product, "lead_s": terms.gate_lead_s, "least_s": least_s}
        structlog.get_logger().warning("the gate is too near to the start", **fields)


async def on_trade(store: Store, settings: Settings, event: Trade) -> None:
    """Every fill is a position; what was resold is no longer the seller's."""
    product = await store.positions.product(product_of(event.contract))
    start_ms = contract_start_s(event.contract) * 1000
    operator = event.seller
    if event.resale:
        operator = event.resale.operator
        await store.positions.take_away(event.resale.from_position_id, event.qty)
    await store.positions.insert(event, product.product, operator, start_ms, start_ms + product.period_ms)


async def on_contract(store: Store, settings: Settings, event: ContractStateChanged) -> None:
    """At the gate GPUs are nominated and leases prepared; at the end what was delivered is due to be settled."""
    if event.state == "LOCKED":
        await open_gate(store, settings, event.contract, now_ms())
    elif event.state == "METERED":
        product = await store.positions.product(product_of(event.contract))
        wait_ms = settings.provisional_ms(product.period_ms)
        await store.positions.note_over(event.contract, event.ts_ms, wait_ms)
    elif event.state == "VOID":
        await end_leases(store, event)


async def end_leases(store: Store, event: ContractStateChanged) -> None:
    """What is void is not served: its leases end, but for a block's whose other hours are still to come."""
    for lease in await store.leases.of_void(event.contract, now_ms()):
        await fail_lease(store, lease, "contract_void", event.ts_ms)


async def on_settled(store: Store, settings: Settings, event: PositionSettled) -> None:
    """Writes the receipt, and says that there is one."""
    position = await store.positions.find(event.position_id)
    product = await store.positions.product(product_of(event.contract))
    settlement = await store.positions.settlement(event.position_id, event.revision)
    receipt = receipt_of(event, product.currency, position, settlement)
    parties = (event.buyer, event.operator)
    await store.positions.insert_receipt(event.position_id, event.revision, *parties, receipt.canonical())
    await store.positions.note_revision(event.position_id, event.revision)
    if event.revision == 1:
        METERED_GPU_S.labels("contracted").inc(receipt.contracted_gpu_s)
        METERED_GPU_S.labels("delivered").inc(receipt.delivered_gpu_s)
    fields = {"contract": event.contract, "revision": event.revision, "meter_digest": event.meter_digest}
    await store.publish(ReceiptIssued, event.node, event.ts_ms, position_id=event.position_id, **fields)


async def on_difference_held(store: Store, settings: Settings, event: DifferenceHeld) -> None:
    """The receipt of a database that was lost knows no more what two meters differed about: the engine does."""
    receipt = await standing_receipt(store, event.position_id)
    disputed = {"disputed_gpu_s": event.disputed_gpu_s, "disputed_used_gpu_s": event.disputed_used_gpu_s}
    if receipt.revision == event.revision and receipt.terms is not None:
        known = receipt.model_copy(update={"terms": receipt.terms.model_copy(update=disputed)})
        await store.positions.rewrite_receipt(event.position_id, event.revision, known.canonical())


async def on_payout_held(store: Store, settings: Settings, event: PayoutHeld) -> None:
    """The receipt says what of its operator's earnings is held, and until when."""
    receipt = await standing_receipt(store, event.position_id)
    if receipt.revision == event.revision:
        held = {"payout_held_micros": event.held_micros, "payout_held_until_ms": event.until_ms}
        known = receipt.model_copy(update=held)
        await store.positions.rewrite_receipt(event.position_id, event.revision, known.canonical())


async def on_final(store: Store, settings: Settings, event: PositionFinalized) -> None:
    """Nothing changes any more."""
    await store.positions.note_final(event.position_id)
    await disputes.on_final(store, event)


async def on_position_ended(store: Store, settings: Settings, event: PositionEnded) -> None:
    """Its buyer ended the rest of his block: the hour is not served, and the lease ends with the hour before."""
    await store.positions.forget(event.position_id)
    await store.leases.shorten(event.block_id)


async def on_dispute_opened(store: Store, settings: Settings, event: DisputeOpened) -> None:
    """The engine has it: the position waits with becoming final, and rules may decide."""
    await store.disputes.note_engine_has(event.position_id)


async def on_rejected(store: Store, settings: Settings, event: CommandRejected) -> None:
    """A command of ours broke a rule of the engine: somebody has to look. A node that it did not take sells nothing."""
    if event.source != CONSUMER:
        return
    log = structlog.get_logger()
    log.error("the engine refused a command", number=event.number, command=event.command, code=event.code)
    command = json.loads(await store.value("command_of_batch", event.number))[event.position]
    if command["type"] == "open_dispute":
        await disputes.on_refused(store, event, command["position_id"])
    if command["type"] == "register_node":
        node = await store.node(command["node"], lock=True)
        if node.state in OUT:
            return
        await take_down(store, node, "lost", f"engine_{event.code}", event.ts_ms)


async def on_hardware_locked(store: Store, settings: Settings, event: HardwareLocked) -> None:
    """GPUs for sale serve no position."""
    await store.hardware.put_on_sale(event.listing_id, event.gpus)


async def on_hardware_unlocked(store: Store, settings: Settings, event: HardwareUnlocked) -> None:
    """GPUs are for rent again."""
    await store.hardware.take_off_sale(event.listing_id)


async def on_escrow(store: Store, settings: Settings, event: EscrowOpened) -> None:
    """Remembers who is buying."""
    await store.hardware.open_escrow(event.escrow_id, event.listing_id, event.buyer)


async def on_sold(store: Store, settings: Settings, event: EscrowReleased) -> None:
    """A sold GPU may be enrolled by its new owner; its old node does without."""
    sold = await store.hardware.sell(event.escrow_id)
    for node_id in sorted(sold):
        node = await store.node(node_id, lock=True)
        await withdraw_gpus(store, node, sold[node_id], "sold", event.ts_ms)


HANDLERS: dict[type, Callable[[Store, Settings, AnyEvent], Awaitable[None]]] = {
    ProductDefined: on_product,
    Trade: on_trade,
    ContractStateChanged: on_contract,
    PositionSettled: on_settled,
    DifferenceHeld: on_difference_held,
    PayoutHeld: on_payout_held,
    PositionFinalized: on_final,
    PositionEnded: on_position_ended,
    DisputeOpened: on_dispute_opened,
    CommandRejected: on_rejected,
    HardwareLocked: on_hardware_locked,
    HardwareUnlocked: on_hardware_unlocked,
    EscrowOpened: on_escrow,
    EscrowReleased: on_sold,
}
