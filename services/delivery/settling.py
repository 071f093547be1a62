"""After METERED: once all reports that were acknowledged are in, the meter speaks and the engine is told, once."""

import asyncio

from schemas.delivery import MeterInputs, MeterOutcome, PositionMetered
from schemas.ids import product_of
from schemas.nodes import NodeReported
from schemas.venue import SettlePosition
from services.delivery.domain import memory_min_mib
from services.delivery.effects import Effects
from services.delivery.meter import cite_report, measure, meter_digest
from services.delivery.settings import Settings
from services.delivery.store import Store, lease_of, pack

POSITIONS_PER_TURN = 16
REVISION = 1


def may_settle(row, started_ms: int, now_ms: int, hold_ms: int) -> bool:
    """Says whether a metered position's reports are complete.

    They are when the meter has what was acknowledged, and the node has reported live since the end: what it had queued
    came before that. A node that stays away, or could not reach us because we were away, is waited for a little.
    """
    if not row["gpus"]:
        return True
    if row["meter_seq"] < row["wait_seq"]:
        return False
    heard_since = row["last_live_ms"] is not None and row["last_live_ms"] >= row["end_ms"]
    return heard_since or now_ms >= max(row["metered_ms"], started_ms) + hold_ms


async def settle_due(effects: Effects, settings: Settings, started_ms: int, now_ms: int) -> None:
    """Settles the positions whose reports are complete, a few in each transaction."""
    async with effects.transaction() as store:
        for row in await store.rows("positions_to_settle", POSITIONS_PER_TURN):
            product = await store.row("find_product", product_of(row["contract"]))
            hold_ms = settings.limits(product["period_ms"]).gap_ms_max
            if may_settle(row, started_ms, now_ms, hold_ms):
                await _settle(store, settings, row, product["period_ms"], now_ms)


async def _settle(store: Store, settings: Settings, row, period_ms: int, now_ms: int) -> None:
    lease_row = await store.row("find_lease", row["lease_id"])
    lease = None if lease_row is None else lease_of(lease_row)
    limits = settings.limits(period_ms)
    raws = []
    if lease is not None:
        since_ms = row["start_ms"] - 4 * limits.gap_ms_max
        raws = await store.rows("meter_records", row["node_id"], since_ms, row["meter_seq"])
    facts = {
        "position_id": row["position_id"],
        "contract": row["contract"],
        "node": row["node_id"],
        "lease_id": row["lease_id"],
        "qty": row["qty"],
        "gpus": tuple(row["gpus"]),
        "start_ms": row["start_ms"],
        "end_ms": row["end_ms"],
        "offered_ms": row["offered_ms"],
        "access_ms": lease.access_ms if lease else None,
        "released_ms": lease.released_ms if lease else None,
        "memory_min_mib": memory_min_mib(row["node_grade"] or ""),
        "gap_ms_max": limits.gap_ms_max,
        "throttle_ms_max": min(settings.throttle_ms_max, limits.silence_ms_max),
    }
    inputs, outcome = await asyncio.to_thread(_measure, facts, [raw["record"] for raw in raws])
    digest = meter_digest(inputs)
    documents = (pack(inputs.canonical()), pack(outcome.canonical()))
    await store.run("insert_settlement", row["position_id"], REVISION, digest, *documents)
    await store.command(settle_command(row["position_id"], outcome, digest))
    await store.run("set_position_state", row["position_id"], "reported")
    await store.tell(
        PositionMetered,
        row["node_id"],
        now_ms,
        position_id=row["position_id"],
        contract=row["contract"],
        revision=REVISION,
        contracted_gpu_s=row["qty"] * (row["end_ms"] - row["start_ms"]) // 1000,
        delivered_gpu_s=outcome.delivered_gpu_s,
        excused_gpu_s=outcome.excused_gpu_s,
        meter_digest=digest,
    )


def settle_command(position_id: int, outcome: MeterOutcome, digest: str) -> SettlePosition:
    """Returns the command that carries the meter's word to the engine."""
    return SettlePosition(
        position_id=position_id,
        revision=REVISION,
        excused_gpu_s=outcome.excused_gpu_s,
        delivered_gpu_s=outcome.delivered_gpu_s,
        used_gpu_s=outcome.used_gpu_s,
        noticed=False,
        recalled_gpus=0,
        meter_digest=digest,
    )


def _measure(facts: dict, raws: list[bytes]) -> tuple[MeterInputs, MeterOutcome]:
    records = [NodeReported.model_validate_json(raw) for raw in raws]
    inputs = MeterInputs(**facts, reports=tuple(map(cite_report, records)))
    return inputs, measure(inputs, records)
