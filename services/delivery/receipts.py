"""Receipts: what `position_settled` says of a position, and the signed file from which a stranger recomputes it."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.events import PositionSettled
from schemas.ids import tier_of
from schemas.nodes import NodeReported, signing_bytes
from schemas.receipts import Receipt, ReceiptFile, SettlementTerms, key_id_of
from services.delivery.report_records import unpack_record
from services.delivery.rows import Position, Settlement
from services.delivery.store import Store
from services.kit.keys import public_hex, sign_hex

UNSIGNED = "0" * 128


def receipt_of(event: PositionSettled, asset: str, position: Position, settlement: Settlement | None) -> Receipt:
    """Returns the receipt of one revision; `settlement` is what delivery sent for it, None where it sent nothing."""
    quality = settlement.meter_outcome.quality_gpu_ms if settlement else {}
    escrow_micros = event.qty * -(-event.price_micros * event.period_s // 3600)
    return Receipt(
        position_id=event.position_id,
        revision=event.revision,
        contract=event.contract,
        node=event.node,
        buyer=event.buyer,
        operator=event.operator,
        asset=asset,
        qty=event.qty,
        period_s=event.period_s,
        gpus=position.gpus,
        price_micros=event.price_micros,
        index_micros=event.index_micros,
        contracted_gpu_s=event.qty * event.period_s,
        delivered_gpu_s=event.delivered_gpu_s,
        excused_gpu_s=event.excused_gpu_s,
        used_gpu_s=event.used_gpu_s,
        quality_gpu_ms=quality,
        paid_micros=event.gross_micros,
        refunded_micros=event.refund_micros,
        damages_micros=event.damages_micros,
        fee_micros=event.fee_micros,
        operator_micros=event.operator_micros,
        meter_digest=event.meter_digest,
        settled_ms=event.ts_ms,
        terms=SettlementTerms(
            tier=tier_of(event.contract),
            reservation_permille=event.reservation_permille,
            dead_band_permille=event.dead_band_permille,
            full_damage_permille=event.full_damage_permille,
            bond_micros=event.bond_micros,
            fee_bps=event.fee_bps,
            noticed=settlement.noticed if settlement else False,
            recalled_gpus=settlement.recalled_gpus if settlement else 0,
            disputed_gpu_s=settlement.disputed_gpu_s if settlement else 0,
            disputed_used_gpu_s=settlement.disputed_used_gpu_s if settlement else 0,
        ),
        held_micros=escrow_micros - event.gross_micros - event.refund_micros,
        simulated=position.simulated,
    )


async def receipt_file(store: Store, key: Ed25519PrivateKey, receipt: Receipt) -> ReceiptFile:
    """Returns a revision's file, signed: the receipt, the meter's inputs, and the signed reports that these name."""
    settlement = await store.positions.settlement(receipt.position_id, receipt.revision)
    meter, reports, node, renter, renter_reports = None, (), None, None, ()
    if settlement is not None:
        meter = settlement.meter_inputs
        rows = await store.rows("records_by_seq", meter.node, [report.seq for report in meter.reports])
        reports = tuple(NodeReported.model_validate_json(unpack_record(row["record"])) for row in rows)
        node = await store.find_node(meter.node)
        seqs = [report.seq for report in meter.renter_reports]
        renter_reports = await store.renters.reports(meter.lease_id, seqs) if seqs else ()
        renter = await store.renters.meter(meter.lease_id) if seqs else None
    unsigned = ReceiptFile(
        receipt=receipt,
        meter=meter,
        node_key=node.public_key if node else None,
        reports=reports,
        key_id=key_id_of(public_hex(key)),
        renter_key=renter.public_key if renter else None,
        renter_reports=renter_reports,
        signature=UNSIGNED,
    )
    return unsigned.model_copy(update={"signature": sign_hex(key, signing_bytes(unsigned))})
