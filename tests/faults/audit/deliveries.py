"""Deliveries: positions settled once, by the function, on meter records that can be shown; one receipt each."""

from collections import Counter
from typing import Any

from clients.actors import Actor
from clients.http import pages
from matching_engine.settlement import settle
from schemas.delivery import DELIVERY_EVENT, MeterRecordView
from schemas.events import PositionSettled, Trade
from schemas.nodes import NodeReported
from schemas.topics import DELIVERY_EVENTS
from services.delivery.meter import measure, meter_digest
from tests.faults.audit.log import EventLog, read_topic
from tests.faults.audit.reports import Reports

AMOUNTS = {
    "paid_micros": "gross_micros",
    "refunded_micros": "refund_micros",
    "damages_micros": "damages_micros",
    "fee_micros": "fee_micros",
    "operator_micros": "operator_micros",
    "delivered_gpu_s": "delivered_gpu_s",
    "meter_digest": "meter_digest",
}


def check_settlements(log: EventLog) -> list[str]:
    """Each position is settled, once a revision, by the function of the contract and no other."""
    settled = log.of(PositionSettled)
    times = Counter((event.position_id, event.revision) for event in settled)
    faults = [f"position {key} was settled {count} times" for key, count in times.items() if count > 1]
    known = {event.position_id for event in settled}
    faults += [
        f"position {trade.position_id} was never settled" for trade in log.of(Trade) if trade.position_id not in known
    ]
    for event in settled:
        outcome = settle(
            q=event.qty,
            T=event.period_s,
            P=event.price_micros,
            I=event.index_micros,
            E=event.excused_gpu_s,
            r=event.reservation_permille,
            hi=event.dead_band_permille,
            lo=event.full_damage_permille,
            bond=event.bond_micros,
            fee_bps=event.fee_bps,
            D=event.delivered_gpu_s,
            U=event.used_gpu_s,
        )
        paid = (event.gross_micros, event.damages_micros, event.fee_micros, event.buyer_micros, event.operator_micros)
        if paid != (outcome.gross, outcome.ld, outcome.fee, outcome.buyer, outcome.operator):
            faults.append(f"position {event.position_id} was not settled by the function: {event}")
    return faults


def check_receipts(log: EventLog, party: Actor) -> list[str]:
    """Each of a party's settled positions has one receipt, with the amounts of the event."""
    receipts = list(pages(party.delivery, "/v1/receipts"))
    settled = {
        event.position_id: event for event in log.of(PositionSettled) if party.account in (event.buyer, event.operator)
    }
    if sorted(each["position_id"] for each in receipts) != sorted(settled):
        return [f"{party.account} has {len(receipts)} receipts for {len(settled)} settled positions"]
    return [
        f"receipt {receipt} is not what was settled: {settled[receipt['position_id']]}"
        for receipt in receipts
        for shown, told in AMOUNTS.items()
        if receipt[shown] != getattr(settled[receipt["position_id"]], told)
    ]


def check_meters(log: EventLog, buyer: Actor, reports: Reports) -> list[str]:
    """What was settled on is what the meter finds in the cited reports, as the topic has them."""
    faults = []
    for event in log.of(PositionSettled):
        if event.buyer != buyer.account:
            continue
        response = buyer.delivery.get(f"/v1/positions/{event.position_id}/meter").raise_for_status()
        inputs = MeterRecordView.model_validate_json(response.content).inputs
        records: list[NodeReported] = []
        for cited in inputs.reports:
            record, digest = reports.get(inputs.node, cited.seq)
            if digest != cited.hash:
                faults.append(f"position {event.position_id} cites report {cited.seq}, which the topic does not have")
            else:
                records.append(record)
        found = measure(inputs, records)
        metered = (meter_digest(inputs), found.delivered_gpu_s, found.excused_gpu_s, found.used_gpu_s)
        settled = (event.meter_digest, event.delivered_gpu_s, event.excused_gpu_s, event.used_gpu_s)
        if metered != settled:
            faults.append(f"position {event.position_id}: settled on {settled}, its reports say {metered}")
    return faults


async def check_facts(kafka: dict[str, Any]) -> list[str]:
    """What delivery published counts from one without a hole, and a fact sent twice is the same fact."""
    facts: dict[int, bytes] = {}
    faults = []
    for raw in await read_topic(kafka, DELIVERY_EVENTS):
        seq = DELIVERY_EVENT.validate_json(raw).seq
        if facts.setdefault(seq, raw) != raw:
            faults.append(f"delivery's fact {seq} in two versions: {facts[seq]!r}, {raw!r}")
    missing = set(range(1, max(facts, default=0) + 1)) - facts.keys()
    return faults + ([f"delivery's facts {sorted(missing)} were never published"] if missing else [])
