"""What is checked after the kills: the clients' notes against the event log, and the logs against each other."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from matching_engine.settlement import settle
from schemas.events import EVENT, OrderAccepted, OrderCanceled, PositionSettled, Trade
from schemas.topics import METER_REPORTS
from tests.faults.load import Notes


@dataclass
class EventLog:
    """The event log as a reader sees it: each sequence once, with what a restarted engine wrote again compared."""

    events: list[Any] = field(default_factory=list)
    repeated: int = 0
    faults: list[str] = field(default_factory=list)

    def take(self, raws: Iterable[bytes]) -> None:
        """Reads records in order."""
        first: dict[int, bytes] = {}
        for raw in raws:
            event = EVENT.validate_json(raw)
            if event.seq in first:
                self.repeated += 1
                if first[event.seq] != raw:
                    self.faults.append(f"seq {event.seq} was written twice, with different bytes")
                continue
            if event.seq != len(self.events) + 1:
                self.faults.append(f"seq {event.seq} after {len(self.events)}")
            first[event.seq] = raw
            self.events.append(event)


async def read_topic(bootstrap: str, topic: str) -> list[bytes]:
    """Returns every record of a topic, partition after partition."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    await consumer.start()
    try:
        numbers = consumer.partitions_for_topic(topic) or {0}
        partitions = [TopicPartition(topic, number) for number in sorted(numbers)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        values: list[bytes] = []
        async with asyncio.timeout(60):
            while any([await consumer.position(each) < ends[each] for each in partitions]):
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    values += [record.value for record in records]
        return values
    finally:
        await consumer.stop()


def check_orders(log: EventLog, notes: dict[str, Notes]) -> list[str]:
    """Nothing acknowledged is lost, nothing is executed twice, and what was refused did not trade."""
    accepted = [event for event in log.events if isinstance(event, OrderAccepted) and event.parent_id is None]
    times = Counter((event.account, event.client_order_id) for event in accepted)
    faults = [f"{key} was accepted {count} times" for key, count in times.items() if count > 1]
    by_key = {(event.account, event.client_order_id): event for event in accepted}
    canceled = {event.order_id for event in log.events if isinstance(event, OrderCanceled)}
    for account, told in notes.items():
        for client_order_id, order in told.orders.items():
            event = by_key.get((account, client_order_id))
            if event is None:
                faults.append(f"{client_order_id} was acknowledged and is not in the log")
            elif (event.order_id, event.contract, event.qty) != (order["order_id"], order["contract"], order["qty"]):
                faults.append(f"{client_order_id}: acknowledged {order}, in the log {event}")
        faults += [
            f"{order_id}: its cancel was acknowledged and is not in the log" for order_id in told.canceled - canceled
        ]
        faults += [f"{each} was refused and accepted" for each in told.refused if (account, each) in by_key]
        faults += told.contradictions
    return faults


def check_fills(log: EventLog) -> list[str]:
    """No order trades more than its quantity, no position opens twice."""
    left = {event.order_id: event.qty for event in log.events if isinstance(event, OrderAccepted)}
    trades = [event for event in log.events if isinstance(event, Trade)]
    for trade in trades:
        for order_id in (trade.maker_order_id, trade.taker_order_id):
            if order_id in left:
                left[order_id] -= trade.qty
    faults = [f"order {order_id} traded {-rest} too much" for order_id, rest in left.items() if rest < 0]
    opened = Counter(trade.position_id for trade in trades)
    return faults + [f"position {position} was opened {count} times" for position, count in opened.items() if count > 1]


def check_settlements(log: EventLog) -> list[str]:
    """Each position is settled once a revision, by the function of the contract and no other."""
    settled = [event for event in log.events if isinstance(event, PositionSettled)]
    times = Counter((event.position_id, event.revision) for event in settled)
    faults = [f"position {key} was settled {count} times" for key, count in times.items() if count > 1]
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


async def check_reports(bootstrap: str) -> list[str]:
    """The acknowledged reports of every node are in the topic, each sequence there, none forked."""
    from schemas.nodes import METER_RECORD, NodeReported, message_hash

    seen: dict[str, dict[int, str]] = {}
    faults = []
    for raw in await read_topic(bootstrap, METER_REPORTS.name):
        record = METER_RECORD.validate_json(raw)
        if isinstance(record, NodeReported):
            hashes = seen.setdefault(record.node_id, {})
            if hashes.setdefault(record.report.seq, message_hash(record.report)) != message_hash(record.report):
                faults.append(f"{record.node_id}: report {record.report.seq} in two versions")
    for node, hashes in seen.items():
        missing = set(range(1, max(hashes) + 1)) - set(hashes)
        if missing:
            faults.append(f"{node}: reports {sorted(missing)[:5]} are missing")
    return faults
