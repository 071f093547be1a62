"""What the meter says of a position goes to the engine: once when it is due, again when what came since changes it."""

import asyncio
from dataclasses import dataclass

from schemas.delivery import Excuse, MeterInputs, MeterOutcome, PositionMetered, ShutDoor
from schemas.disputes import ArbiterInputs
from schemas.nodes import NodeReported, RenterReported
from schemas.receipts import Receipt
from schemas.venue import SettleDisputed, SettlePosition
from services.delivery.differences import open_by_venue
from services.delivery.domain import memory_min_mib
from services.delivery.door import door_witnesses, probes_of, unreachable_spans
from services.delivery.effects import Effects
from services.delivery.level_reviews import metered, note_metered
from services.delivery.meter import cite_report, measure, meter_digest
from services.delivery.packing import pack
from services.delivery.report_records import unpack_record
from services.delivery.rows import Position, Settlement
from services.delivery.second_meter import renter_witnesses
from services.delivery.settings import Settings, notice_ms
from services.delivery.store import Store

POSITIONS_PER_TURN = 16
POSITIONS_LOOKED_AT = 256


@dataclass(frozen=True)
class Moment:
    """Now, and since when the venue has been there without a break."""

    now_ms: int
    back_ms: int


def may_settle(position: Position, moment: Moment, hold_ms: int) -> bool:
    """Says whether the reports of a position that is due are complete.

    They are when the meter has what was acknowledged until then, and the node has reported live since its end and since
    we were away: what it had queued came before that. A node that stays away is waited for a little.
    """
    if not position.gpus:
        return True
    if position.wait_seq is None or position.meter_seq < position.wait_seq:
        return False
    heard_since = position.last_live_ms is not None and position.last_live_ms >= max(position.end_ms, moment.back_ms)
    return heard_since or moment.now_ms >= moment.back_ms + hold_ms


async def settle_due(effects: Effects, settings: Settings, moment: Moment) -> None:
    """Settles the positions that are due and complete, a few in each transaction."""
    async with effects.transaction() as store:
        await store.positions.note_due(moment.now_ms)
        settled = 0
        for position in await store.positions.to_settle(moment.now_ms, POSITIONS_LOOKED_AT):
            hold_ms = settings.limits(position.period_ms).gap_ms_max
            if settled < POSITIONS_PER_TURN and may_settle(position, moment, hold_ms):
                measured = await measure_position(store, settings, position)
                await send_revision(store, settings, position, measured, 1, moment.now_ms)
                settled += 1


async def correct_changed(effects: Effects, settings: Settings, moment: Moment) -> None:
    """Measures again what something came for after its settlement, until it is final; tells the engine what changed.

    It waits a little, since reports and outages come in numbers.
    """
    quiet_ms = settings.correction_delay_ms
    if moment.now_ms < moment.back_ms + quiet_ms:
        return
    async with effects.transaction() as store:
        for position in await store.positions.to_correct(moment.now_ms - quiet_ms, POSITIONS_PER_TURN):
            measured = await measure_position(store, settings, position)
            standing = await standing_receipt(store, position.position_id)
            if standing is not None and differs(measured.outcome, standing):
                await send_revision(store, settings, position, measured, position.revision + 1, moment.now_ms)
            await store.positions.note_no_change(position.position_id, position.changed_ms)


async def standing_receipt(store: Store, position_id: int) -> Receipt | None:
    """Returns the receipt of a position's last revision, None before the first."""
    stored = await store.positions.receipt(position_id)
    return None if stored is None else stored.receipt


@dataclass(frozen=True)
class Measured:
    """The meter's word on a position, and what it was made of."""

    inputs: MeterInputs
    outcome: MeterOutcome


def differs(outcome: MeterOutcome, standing: Receipt) -> bool:
    """Says whether a measurement says something else to the engine than what stands."""
    terms = standing.terms
    recall = (terms.noticed, terms.recalled_gpus) if terms else (False, 0)
    disputed = (terms.disputed_gpu_s, terms.disputed_used_gpu_s) if terms else (0, 0)
    return (
        outcome.delivered_gpu_s,
        outcome.excused_gpu_s,
        outcome.used_gpu_s,
        outcome.noticed,
        outcome.recalled_gpus,
        outcome.disputed_gpu_s,
        outcome.disputed_used_gpu_s,
    ) != (standing.delivered_gpu_s, standing.excused_gpu_s, standing.used_gpu_s, *recall, *disputed)


async def measure_position(store: Store, settings: Settings, position: Position) -> Measured:
    """Measures a position on everything that is known now."""
    lease, period_ms = await store.leases.find(position.lease_id), position.period_ms
    limits, probes = settings.limits(period_ms), await probes_of(store, position.lease_id)
    # From the gate on, where the venue's own record of faults was asked last: what came since then lasts (M21).
    gate_ms = min(position.start_ms, position.offered_ms or position.start_ms)
    since_ms, raws = gate_ms - 4 * limits.gap_ms_max, []
    if lease is not None:
        span = (position.node, since_ms, position.end_ms, position.meter_seq)
        raws = await store.rows("meter_records", *span)
    facts = {
        "position_id": position.position_id,
        "contract": position.contract,
        "node": position.node,
        "lease_id": position.lease_id,
        "qty": position.qty,
        "gpus": position.gpus,
        "start_ms": position.start_ms,
        "end_ms": position.end_ms,
        "offered_ms": position.offered_ms,
        "access_ms": lease.access_ms if lease else None,
        "released_ms": lease.released_ms if lease else None,
        "memory_min_mib": memory_min_mib(position.node_grade or ""),
        "gap_ms_max": limits.gap_ms_max,
        "throttle_ms_max": min(settings.throttle_ms_max, limits.silence_ms_max),
        "opening_grace_ms": settings.opening_grace_ms(period_ms),
        "notice_ms": notice_ms(period_ms),
        "provisional_ms": position.due_ms,
        "excuses": await _excuses(store, position, since_ms),
        "recalls": await store.positions.recalls(position.position_id),
        "disproven": await store.challenges.disproven_of(position),
        "unreachable": tuple(
            ShutDoor(start_ms=start_ms, end_ms=end_ms)
            for start_ms, end_ms in unreachable_spans(probes, position.end_ms, settings.shut_door_ms(period_ms))
        ),
        "witnesses": door_witnesses(probes, settings.doors_apart_ms(period_ms)),
    } | await _inputs_of_arbiter(store, position.position_id)
    renter = await store.renters.reports_since(position.lease_id, since_ms)
    documents = ([unpack_record(raw["record"]) for raw in raws], renter)
    return Measured(*await asyncio.to_thread(_measure, facts, *documents))


async def _excuses(store: Store, position: Position, since_ms: int) -> tuple[Excuse, ...]:
    kinds = [("venue_outage", outage) for outage in await store.positions.outages(since_ms, position.end_ms)]
    kinds += [("maintenance", (each.start_ms, each.end_ms)) for each in await store.positions.maintenance(position)]
    return tuple(Excuse(start_ms=start_ms, end_ms=end_ms, kind=kind) for kind, (start_ms, end_ms) in kinds)


async def _inputs_of_arbiter(store: Store, position_id: int) -> dict:
    """What was found in disputes stands for what is on record, whatever is measured from then on; the last counts."""
    stand: dict = {}
    for inputs in await store.disputes.inputs_of(position_id):
        found = ArbiterInputs.model_validate_json(inputs)
        stand |= {name: value for name, value in found if value is not None}
    return stand


async def send_revision(
    store: Store, settings: Settings, position: Position, measured: Measured, revision: int, now_ms: int
) -> None:
    """Sends a measurement to the engine. What two meters differ about is held, and disputed by the venue itself."""
    outcome, digest = measured.outcome, meter_digest(measured.inputs)
    settlement = Settlement(
        revision=revision,
        digest=digest,
        inputs=pack(measured.inputs.canonical()),
        outcome=pack(outcome.canonical()),
        noticed=outcome.noticed,
        recalled_gpus=outcome.recalled_gpus,
        disputed_gpu_s=outcome.disputed_gpu_s,
        disputed_used_gpu_s=outcome.disputed_used_gpu_s,
    )
    await store.positions.insert_settlement(position.position_id, settlement)
    await store.command(settle_command(position.position_id, revision, outcome, digest))
    if is_held(outcome):
        await open_by_venue(store, settings, position, revision, now_ms)
    await store.positions.note_reported(position.position_id)
    fields = metered(position, revision, measured.inputs, outcome) | {"meter_digest": digest}
    await note_metered(store, await store.publish(PositionMetered, position.node, now_ms, **fields))


def is_held(outcome: MeterOutcome) -> bool:
    """Whether two meters differ, and nobody has decided yet."""
    return outcome.disputed_gpu_s > 0 or outcome.disputed_used_gpu_s > 0


def settle_command(position_id: int, revision: int, outcome: MeterOutcome, digest: str) -> SettlePosition:
    """Returns the command that carries the meter's word to the engine, and what two meters differ about."""
    command, disputed = SettlePosition, {}
    if is_held(outcome):
        command = SettleDisputed
        disputed = {
            "disputed_gpu_s": outcome.disputed_gpu_s,
            "disputed_used_gpu_s": outcome.disputed_used_gpu_s,
        }
    return command(
        **disputed,
        position_id=position_id,
        revision=revision,
        excused_gpu_s=outcome.excused_gpu_s,
        delivered_gpu_s=outcome.delivered_gpu_s,
        used_gpu_s=outcome.used_gpu_s,
        noticed=outcome.noticed,
        recalled_gpus=outcome.recalled_gpus,
        meter_digest=digest,
    )


def _measure(facts: dict, raws: list[bytes], renter_raws: list[bytes]) -> tuple[MeterInputs, MeterOutcome]:
    records = [NodeReported.model_validate_json(raw) for raw in raws]
    renter = [RenterReported.model_validate_json(raw) for raw in renter_raws]
    cited = {"reports": tuple(map(cite_report, records)), "renter_reports": tuple(map(cite_report, renter))}
    inputs = MeterInputs(**facts, **cited)
    if witnesses := renter_witnesses(inputs, renter):
        inputs = inputs.model_copy(update={"witnesses": (*inputs.witnesses, *witnesses)})
    return inputs, measure(inputs, records, renter)
