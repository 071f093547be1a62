"""Reports from `meter.reports`, a run at a time: each finds its place in its node's chain, and says how GPUs are."""

from collections.abc import Sequence
from functools import partial

import structlog

from schemas.nodes import MeterRecord, NodeReported, message_hash, signing_bytes
from services.delivery import nodes
from services.delivery.digests import software_of
from services.delivery.domain import BadSignature, UnknownNode
from services.delivery.evidence import take_software
from services.delivery.histories import Histories
from services.delivery.report_records import VerifiedReport
from services.delivery.settings import Settings
from services.delivery.store import NodeForRecords, Store
from services.kit.keys import signature_holds


class Contradiction(Exception):
    """A record that is well-formed but cannot be true; it goes to the dead letters with this reason."""


def is_report(record: MeterRecord | VerifiedReport) -> bool:
    """Says whether a record is a node's report."""
    return isinstance(record, VerifiedReport | NodeReported)


def record_of(each: MeterRecord | VerifiedReport) -> MeterRecord:
    """Returns the record itself."""
    return each.record if isinstance(each, VerifiedReport) else each


async def dead_letter(store: Store, record: MeterRecord, error: Exception) -> None:
    """Puts a record that cannot be true among the dead letters, with the reason."""
    reason = str(error) if isinstance(error, Contradiction) else error.code
    structlog.get_logger().warning("record to the dead letters", node=record.node_id, reason=reason)
    await store.dead_letter(record.node_id, record, reason)


async def take_reports(
    store: Store, settings: Settings, histories: Histories, reports: Sequence[NodeReported | VerifiedReport]
) -> None:
    """Takes reports whose nodes are locked; one that cannot be true goes to the dead letters and harms no other.

    The edge has written those that it took to the meter's table; what it lacks (after a lost database) is added.
    """
    known = await store.nodes_for_records(sorted({record_of(each).node_id for each in reports}))
    taken: list[VerifiedReport] = []
    missing: list[VerifiedReport] = []
    for each in reports:
        record = record_of(each)
        try:
            if record.node_id not in known:
                raise UnknownNode(record.node_id)
            node = known[record.node_id]
            report = each if isinstance(each, VerifiedReport) else _verified(node, each)
            if await _is_taken(store, node, report, missing):
                continue
        except (Contradiction, UnknownNode, BadSignature) as error:
            await dead_letter(store, record, error)
            continue
        taken.append(report)
        if report is not each:
            missing.append(report)
        await _meter(store, settings, node, report)
        store.after_commit.append(partial(histories.add, report.record, node.health))
    if missing:
        await store.put_reports((report, report.record.canonical()) for report in missing)
    if taken:
        await store.save_metered(known[node_id] for node_id in {report.record.node_id for report in taken})


def _verified(node: NodeForRecords, record: NodeReported) -> VerifiedReport:
    report = record.report
    if report.agent != node.node.node_id:
        raise Contradiction("bad_signature")
    if not signature_holds(node.node.public_key, report.signature, signing_bytes(report)):
        raise Contradiction("bad_signature")
    return VerifiedReport(record, message_hash(report))


async def _is_taken(store: Store, node: NodeForRecords, each: VerifiedReport, missing: list[VerifiedReport]) -> bool:
    """Says whether the meter has a report already. Raises Contradiction where it has no place in the node's chain."""
    report = each.record.report
    if report.seq <= node.metered_seq:
        place = (node.node.node_id, report.seq)
        here = [other.digest for other in missing if (other.record.node_id, other.record.report.seq) == place]
        known = here[0] if here else await store.value("meter_hash", *place)
        if known != each.digest:
            raise Contradiction("forked_chain")
        return True
    if report.seq != node.metered_seq + 1 or report.prev_hash != node.metered_hash:
        raise Contradiction("broken_chain")
    return False


async def _meter(store: Store, settings: Settings, node: NodeForRecords, each: VerifiedReport) -> None:
    """Moves the node's chain on behind a report, and takes note of what it says."""
    record, report, heard_ms = each.record, each.record.report, node.last_live_ms or 0
    node_id, interval_ms = node.node.node_id, settings.limits(node.node.period_ms).interval_ms
    node.metered_seq, node.metered_hash, node.boot_id = report.seq, each.digest, report.boot_id
    if report.queued or record.received_ms - heard_ms > 2 * interval_ms:
        # It may speak of hours that were settled without it.
        await store.positions.note_change(node_id, heard_ms - interval_ms, record.received_ms, record.received_ms)
    if not report.queued:
        node.last_live_ms = record.received_ms
    if node.node.state in nodes.OUT:
        return
    if (software := software_of(report)).text != node.software:
        await take_software(store, settings, node.node, software, record.received_ms)
        node.software, node.node = software.text, await store.node(node_id)
    node.health, has_changed = await nodes.take_health(store, node.node, node.health, record)
    if has_changed:
        node.node = await store.node(node_id)
