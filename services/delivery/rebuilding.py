"""Nodes, chains and reports again from the topics, where PostgreSQL was lost or comes from an older backup.

The topics have what was acknowledged, the table may not: at its start the service compares its own place in
`meter.reports`, and its own number on `delivery.events`, with what the broker has, and takes again what it lacks.
Positions come again with `events.0`, from the cursor of the schema.
"""

import secrets
from collections.abc import Mapping
from dataclasses import replace

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from pydantic import ValidationError

from schemas.answers import RequestAnswered
from schemas.delivery import (
    DELIVERY_EVENT,
    DeliveryDisproven,
    DeliveryEvent,
    DriverDigestAdded,
    GpusRecalled,
    LevelHoldChanged,
    MaintenanceDeclared,
    NodeAudited,
    NodeStateChanged,
    PositionMetered,
    VenueOutage,
)
from schemas.nodes import (
    METER_RECORD,
    ChainMoved,
    ChallengeJudged,
    DisputeRecorded,
    DoorTried,
    GpusChanged,
    HubMeasured,
    LeaseAnswered,
    MeterRecord,
    NodeEnrolled,
    NodeInspected,
    NodeReleased,
    NodeReported,
    RenterJoined,
    RenterReported,
    message_hash,
)
from schemas.topics import DELIVERY_EVENTS, METER_REPORTS, Topic
from services.delivery import handlers
from services.delivery.challenges import DOUBTED, may_serve
from services.delivery.claw_back import note_disproven
from services.delivery.domain import read_token
from services.delivery.effects import Effects
from services.delivery.evidence import restore_digest
from services.delivery.histories import Histories
from services.delivery.holds import restore_hold
from services.delivery.hub_trips import put_trip
from services.delivery.level_reviews import note_audit, note_metered, restore_standing
from services.delivery.moving import put_gpu, release_gpus, restore_gpus
from services.delivery.reports import LOST_NONCE, Chain, first_chain
from services.delivery.settings import Settings
from services.delivery.store import Store
from services.delivery.store.leases import HookAnswer
from services.kit.idempotency import restore
from services.kit.ranges import RECORDS_PER_TURN, read_range
from services.kit.reading import with_consumer
from services.kit.topics import FOREIGN_RECORD

FETCH_BYTES_MAX = 4_194_304


async def rebuild(effects: Effects, settings: Settings, histories: Histories, group: str) -> None:
    """Takes again what the topics have and the tables do not, waiting for Kafka as long as it is away.

    `group` is the consumer group of `meter.reports`.
    """

    async def read(consumer: AIOKafkaConsumer) -> None:
        await _rebuild_records(effects, settings, histories, consumer)
        await _rebuild_events(effects, consumer)

    topics, options = (METER_REPORTS.name, DELIVERY_EVENTS.name), {"max_partition_fetch_bytes": FETCH_BYTES_MAX}
    await with_consumer(settings, topics, read, "rebuilding waits for Kafka", group_id=group, **options)


# -- meter.reports ---------------------------------------------------------------------------------------------------


async def _rebuild_records(
    effects: Effects, settings: Settings, histories: Histories, consumer: AIOKafkaConsumer
) -> None:
    marks = dict(await Store(effects.pool).rows("report_marks"))
    for number in range(METER_REPORTS.partitions):
        partition = TopicPartition(METER_REPORTS.name, number)
        consumer.assign([partition])
        taken, mark = await consumer.committed(partition) or 0, marks.get(number, 0)
        if mark and mark >= taken:
            continue
        # What the consumer has not taken yet comes to it again, but what was written beside it may be gone as well.
        last = (await consumer.end_offsets([partition]))[partition]
        if mark < last:
            log = structlog.get_logger()
            log.warning("reports are taken again from the topic", partition=number, offset=mark, until=last)
        async for records, end in read_range(consumer, partition, mark, last):
            values = [record.value for record in records]
            await _take_again(effects, settings, histories, values, {number: end})


async def _take_again(
    effects: Effects, settings: Settings, histories: Histories, values: list[bytes], ends: Mapping[int, int]
) -> None:
    records = [record for value in values if (record := _record_of(value)) is not None]
    async with effects.transaction() as store:
        for record in records:
            await restore_record(store, record)
        if records:
            # The venue was there when it took the last of them: what lies behind is its outage.
            await store.run("mark_alive", max(record.received_ms for record in records))
    await handlers.take_records(effects, settings, histories, records, ends)


def _record_of(value: bytes) -> MeterRecord | None:
    """Reads a record; a broken one is among the dead letters since it was read first."""
    try:
        return METER_RECORD.validate_json(value)
    except ValidationError:
        return None


async def restore_record(store: Store, record: MeterRecord) -> None:
    """Writes what the edge wrote beside a record when it took it, where that is missing."""
    if isinstance(record, NodeEnrolled):
        await _restore_node(store, record)
    elif isinstance(record, GpusChanged):
        await restore_gpus(store, record)
    elif isinstance(record, NodeReported | ChainMoved):
        await _restore_chain(store, record)
    elif isinstance(record, LeaseAnswered):
        answer = HookAnswer(record.action, record.received_ms, record.ok, record.endpoint, record.host_key)
        await store.leases.keep_answer(record.lease_id, record.node_id, answer)
    elif isinstance(record, ChallengeJudged):
        if record.lease_id is not None and may_serve(record.verdict):
            answer = HookAnswer("proof", record.received_ms, True, "", "")
            await store.leases.keep_answer(record.lease_id, record.node_id, answer)
    elif isinstance(record, NodeInspected):
        inspection_id, node = message_hash(record.report), await store.find_node(record.node_id)
        account = node.account if node else ""
        await store.hardware.insert_inspection(inspection_id, account, record.received_ms, record.report)
        await store.hardware.publish_inspection(inspection_id)
    else:
        await _restore_evidence(store, record)


async def _restore_evidence(store: Store, record: MeterRecord) -> None:
    """Writes again what stands beside nodes and their chains: renters' meters, tries at doors, disputes, releases, and
    the first answers to what was asked about them.
    """
    if isinstance(record, RenterJoined):
        if await store.renters.meter(record.lease_id) is None:
            chain = replace(first_chain("", secrets.token_hex(32), record.received_ms), queued_nonce=LOST_NONCE)
            await store.renters.insert(record.lease_id, record.public_key, chain)
    elif isinstance(record, RenterReported):
        await _restore_renter_report(store, record)
    elif isinstance(record, DoorTried):
        await store.leases.insert_try(record)
    elif isinstance(record, DisputeRecorded):
        await store.disputes.restore(record)
    elif isinstance(record, HubMeasured):
        await put_trip(store, record)
    elif isinstance(record, NodeReleased):
        await release_gpus(store, record)
    elif isinstance(record, RequestAnswered):
        await restore(store.connection, record.first)


async def _restore_renter_report(store: Store, record: RenterReported) -> None:
    meter = await store.renters.meter(record.lease_id)
    if meter is None or record.report.seq <= meter.chain.seq:
        return
    await store.renters.insert_report(message_hash(record.report), record)
    chain = replace(meter.chain, seq=record.report.seq, received_ms=record.received_ms)
    await store.renters.save_chain(record.lease_id, _behind(chain, record))


async def _restore_node(store: Store, record: NodeEnrolled) -> None:
    request, node_id = record.request, record.node_id
    if await store.find_node(node_id) is not None:
        return
    await store.run("burn_token", read_token(request.token).token_id, node_id)
    await store.run(
        "insert_node",
        *(node_id, record.account, request.label, request.hub, request.grade, request.public_key),
        *(request.nvml_simulated, request.boot_id, record.received_ms),
    )
    await store.run("set_node_admitted", node_id)
    for gpu in request.gpus:
        await put_gpu(store, node_id, gpu, request.boot_id, record.received_ms)
    chain = first_chain(request.boot_id, secrets.token_hex(32), record.received_ms)
    await store.insert_chain(node_id, replace(chain, queued_nonce=LOST_NONCE))


async def _restore_chain(store: Store, record: NodeReported | ChainMoved) -> None:
    """Moves the chain to a record behind it. Which nonce the node has now, nobody knows any more."""
    chain = await store.chain(record.node_id)
    seq = record.seq if isinstance(record, ChainMoved) else record.report.seq
    if seq <= chain.seq:
        return
    moved = replace(chain, seq=seq, queued_nonce=LOST_NONCE, received_ms=record.received_ms)
    moved = replace(moved, hash=record.hash) if isinstance(record, ChainMoved) else _behind(moved, record)
    await store.save_chain(record.node_id, moved)


def _behind(chain: Chain, record: NodeReported | RenterReported) -> Chain:
    report = record.report
    offset_min_ms = chain.offset_min_ms if report.boot_id == chain.boot_id else None
    if record.nonce_issued_ms is not None:
        bound_ms = record.nonce_issued_ms - report.mono_end_ms
        offset_min_ms = bound_ms if offset_min_ms is None else max(offset_min_ms, bound_ms)
    return replace(
        chain,
        hash=message_hash(report),
        boot_id=report.boot_id,
        mono_end_ms=report.mono_end_ms,
        offset_min_ms=offset_min_ms,
    )


# -- delivery.events -------------------------------------------------------------------------------------------------


async def _rebuild_events(effects: Effects, consumer: AIOKafkaConsumer) -> None:
    """Takes node states, outages and declarations told after this schema's last number, and goes on behind them."""
    partition = _only_partition(DELIVERY_EVENTS)
    consumer.assign([partition])
    end = (await consumer.end_offsets([partition]))[partition]
    known = await Store(effects.pool).value("sequence_now")
    if end == 0 or await _last_seq(consumer, partition, end) <= known:
        return
    structlog.get_logger().warning("events are taken again from the topic", behind_seq=known)
    async for records, _ in read_range(consumer, partition, 0, end):
        found = (_event_of(record.value) for record in records)
        events = [event for event in found if event is not None and event.seq > known]
        async with effects.transaction() as store:
            for event in events:
                await take_event(store, event)
            await store.run("set_sequence", max((event.seq for event in events), default=known))


def _only_partition(topic: Topic) -> TopicPartition:
    return TopicPartition(topic.name, 0)


async def _last_seq(consumer: AIOKafkaConsumer, partition: TopicPartition, end: int) -> int:
    """Returns the highest number among the last records: one may have been sent twice, out of order."""
    first, seqs = max(0, end - RECORDS_PER_TURN), [0]
    async for records, _ in read_range(consumer, partition, first, end):
        seqs += [event.seq for record in records if (event := _event_of(record.value)) is not None]
    return max(seqs)


def _event_of(value: bytes) -> DeliveryEvent | None:
    try:
        return DELIVERY_EVENT.validate_json(value)
    except ValidationError:
        structlog.get_logger().error("a foreign record is skipped", value=repr(value)[:200], see=FOREIGN_RECORD)
        return None


async def take_event(store: Store, event: DeliveryEvent) -> None:
    """Writes what an event says where the tables have lost it."""
    if isinstance(event, NodeStateChanged):
        await restore_standing(store, event)
        await store.run("set_node_state", event.node, event.state, event.level, event.reason, list(event.gpus))
        if event.reason in DOUBTED:
            await store.run("restore_doubt", event.node)
    elif isinstance(event, PositionMetered):
        await note_metered(store, event)
    elif isinstance(event, DeliveryDisproven):
        await note_disproven(store, event)
    elif isinstance(event, NodeAudited):
        await note_audit(store, event)
    elif isinstance(event, LevelHoldChanged):
        await restore_hold(store, event)
    elif isinstance(event, DriverDigestAdded):
        await restore_digest(store, event)
    elif isinstance(event, VenueOutage):
        await store.run("insert_outage", event.from_ms, event.to_ms, event.cause)
    elif isinstance(event, MaintenanceDeclared):
        row = (event.maintenance_id, event.node, event.start_ms, event.end_ms, event.ts_ms)
        await store.run("insert_maintenance", *row)
    elif isinstance(event, GpusRecalled):
        await store.run(
            "insert_recall", event.recall_id, event.position_id, list(event.gpus), event.from_ms, event.ts_ms
        )
