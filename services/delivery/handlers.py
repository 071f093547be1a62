"""Agents' facts from `meter.reports`: each checked again, stored for the meter, and followed by what it entails."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import groupby

from schemas.answers import RequestAnswered
from schemas.delivery import ChallengeFailed, ChallengePassed, HardwareInspected, LeaseEnded, LeaseStarted, NodeAdmitted
from schemas.nodes import (
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
    RenterJoined,
    RenterReported,
    message_hash,
)
from services.delivery import nodes
from services.delivery.challenges import (
    VENUE_BUSY,
    first_reason,
    is_honest_failure,
    is_undecided,
    may_serve,
    suspicion,
)
from services.delivery.claw_back import claw_back
from services.delivery.domain import BadSignature, UnknownNode
from services.delivery.effects import Effects
from services.delivery.evidence import take_enrolled_software
from services.delivery.histories import Histories
from services.delivery.inside_proofs import RENTER, judge_from_inside
from services.delivery.leases import Lease
from services.delivery.level_reviews import fall_to_proven
from services.delivery.metering import Contradiction, dead_letter, is_report, record_of, take_reports
from services.delivery.metrics import CHALLENGES
from services.delivery.report_records import VerifiedReport
from services.delivery.settings import Settings
from services.delivery.signatures import check_signature
from services.delivery.store import Node, Store, node_of
from services.delivery.sweeps import suspect


async def take_records(
    effects: Effects,
    settings: Settings,
    histories: Histories,
    records: Sequence[MeterRecord | VerifiedReport],
    ends: Mapping[int, int],
) -> None:
    """Takes a batch in one transaction; every effect is idempotent, because a record may come twice.

    Reports that follow each other are taken together, all others one by one. `ends` says up to which offset of each
    partition everything is taken then.
    """
    async with effects.transaction() as store:
        await store.run("lock_nodes", sorted({record_of(each).node_id for each in records}))
        for are_reports, run in groupby(records, key=is_report):
            if are_reports:
                await take_reports(store, settings, histories, list(run))
                continue
            for record in run:
                if isinstance(record, NodeInspected):
                    await histories.write(store, [record.node_id])
                try:
                    await HANDLERS[type(record)](store, settings, record)
                except (Contradiction, UnknownNode, BadSignature) as error:
                    await dead_letter(store, record, error)
        await store.run("note_report_ends", list(ends), list(ends.values()))


async def take_enrolment(store: Store, settings: Settings, record: NodeEnrolled) -> None:
    """Tells everyone of a new node, once."""
    await store.node(record.node_id)
    if await store.value("set_node_admitted", record.node_id) is not None:
        request = record.request
        await store.publish(
            NodeAdmitted,
            record.node_id,
            record.received_ms,
            account=record.account,
            grade=request.grade,
            hub=request.hub,
            gpus=request.gpus,
        )
        await take_enrolled_software(store, settings, record)


async def take_gpu_change(store: Store, settings: Settings, record: GpusChanged) -> None:
    """Checks the record once more; the edge wrote what it says in the same transaction."""
    check_signature(record.request, (await store.node(record.node_id)).public_key)


async def take_written(store: Store, settings: Settings, record: MeterRecord) -> None:
    """Whoever put it on the topic has stored it too; it is there for audits, and for a database that was lost."""


async def take_move(store: Store, settings: Settings, record: ChainMoved) -> None:
    """Lets the meter go on behind the reports that the node has left out; their time stays as it was judged."""
    await store.run("move_chain", record.node_id, record.seq, record.hash)


async def take_verdict(store: Store, settings: Settings, record: ChallengeJudged) -> None:
    """A node that passed may sell, or its lease may start; one that failed honestly tries again, a wrong one is out."""
    node, verdict = await store.node(record.node_id, lock=True), record.verdict
    if record.cause == RENTER:
        if await store.challenges.apply(verdict.challenge_id):
            await judge_from_inside(store, settings, node, record)
        return
    if not is_undecided(verdict):
        await store.challenges.put_fact(node.node_id, verdict)
    await store.challenges.put_proofs(node.node_id, verdict)
    if not await store.challenges.apply(verdict.challenge_id):
        return
    CHALLENGES.labels(record.cause, "passed" if verdict.passed else "failed").inc()
    fields = {"challenge_id": verdict.challenge_id, "cause": record.cause, "band": verdict.band}
    if verdict.passed:
        gpus = tuple(gpu.gpu_uuid for gpu in verdict.gpus)
        await store.publish(ChallengePassed, node.node_id, record.received_ms, gpus=gpus, **fields)
    else:
        reason = first_reason(verdict)
        await store.publish(ChallengeFailed, node.node_id, record.received_ms, reason=reason, **fields)
    if node.state in nodes.OUT:
        return
    if is_undecided(verdict):
        if record.lease_id is not None:
            await _decide_lease(store, record)
        elif node.state == "active":
            await suspect(store, node, VENUE_BUSY)  # asked again; meanwhile everything stays as it was
        return
    if not verdict.passed and not may_serve(verdict):
        node = await fall_to_proven(store, node, record.received_ms)
    if record.lease_id is not None:
        await _decide_lease(store, record)
    await _judge_node(store, settings, node, record)


async def _judge_node(store: Store, settings: Settings, node: Node, record: ChallengeJudged) -> None:
    """Wrong work is quarantine; odd speed takes GPUs from the market, and is quarantine when it adds up. [D-30]"""
    verdict, now_ms = record.verdict, record.received_ms
    failed = [gpu.gpu_uuid for gpu in verdict.gpus if not gpu.passed]
    if not is_honest_failure(verdict):
        await claw_back(store, node, verdict, now_ms)
        await nodes.take_down(store, node, "quarantined", f"challenge_{first_reason(verdict)}", now_ms)
    elif doubt := suspicion(verdict):
        if await store.value("count_doubt", node.node_id) >= settings.score_failures_max:
            await claw_back(store, node, verdict, now_ms)
            for row in await store.rows("siblings_in_doubt", node.node_id):
                await claw_back(store, node_of(row), verdict, now_ms)
            await nodes.take_down(store, node, "quarantined", doubt, now_ms)
        else:
            await nodes.withdraw_unproven(store, node, failed, f"challenge_{first_reason(verdict)}", now_ms)
    elif await _is_absent(store, settings, node, record):
        await nodes.take_down(store, node, "enrolled", "not_simultaneous", now_ms)
    elif verdict.passed:
        await store.run("end_doubts", verdict.challenge_id)
        if record.lease_id is None:
            proven = [gpu.gpu_uuid for gpu in verdict.gpus]
            await nodes.activate(store, settings, node, proven, now_ms)
    elif record.lease_id is not None and not may_serve(verdict):
        await nodes.take_down(store, node, "enrolled", "gate_challenge_missed", now_ms)
    elif record.lease_id is None and node.state == "active":
        await nodes.withdraw_unproven(store, node, failed, f"challenge_{first_reason(verdict)}", now_ms)


async def _is_absent(store: Store, settings: Settings, node: Node, record: ChallengeJudged) -> bool:
    """Counts a sweep that did not find the node at its held request; says whether it was one too many in a row."""
    absences = await store.challenges.note_absence(record.verdict.challenge_id)
    if absences is None:
        return False
    if 0 < absences < settings.absences_max:
        await suspect(store, node, "absent", record.received_ms + settings.absence_retry_ms)
    return absences >= settings.absences_max


async def _decide_lease(store: Store, record: ChallengeJudged) -> None:
    lease = await store.leases.find(record.lease_id)
    if lease is None or lease.state != "pending":
        return
    if may_serve(record.verdict):
        await store.leases.make_ready(lease.lease_id, record.received_ms)
    else:
        await fail_lease(store, lease, f"challenge_{first_reason(record.verdict)}", record.received_ms)


async def fail_lease(store: Store, lease: Lease, reason: str, now_ms: int) -> None:
    """Ends a lease that cannot be served; what was delivered until then still counts."""
    await store.leases.set_state(lease.lease_id, "failed", reason)
    fields = {"lease_id": lease.lease_id, "contract": lease.contract, "ok": False, "reason": reason}
    await store.publish(LeaseEnded, lease.node, now_ms, **fields)


async def take_lease_answer(store: Store, settings: Settings, record: LeaseAnswered) -> None:
    """The buyer is in from now on, or out; a hook that failed to let him in ends the lease."""
    lease = await store.leases.find(record.lease_id)
    if lease is None and await store.leases.kept_answers(record.lease_id, record.node_id):
        return  # of a lease that comes again with the event log
    if lease is None or lease.node != record.node_id:
        raise Contradiction("unknown_lease")
    if record.action == "stop":
        if lease.released_ms is None:
            await store.leases.close_access(lease.lease_id, record.received_ms)
            await store.positions.note_change_of(lease.position_ids, record.received_ms)
    elif lease.state == "ready" and record.ok:
        await store.leases.open_access(lease.lease_id, record.received_ms)
        fields = {"lease_id": lease.lease_id, "contract": lease.contract, "gpus": lease.gpus}
        await store.publish(LeaseStarted, lease.node, record.received_ms, **fields)
    elif lease.state == "ready":
        await fail_lease(store, lease, "start_hook_failed", record.received_ms)


async def take_inspection(store: Store, settings: Settings, record: NodeInspected) -> None:
    """Publishes an inspection, once, with what the venue itself knows of the GPUs, so that a sale can rest on both."""
    inspection_id = message_hash(record.report)
    account = await store.hardware.publish_inspection(inspection_id)
    if account is None:
        return
    fields = {"inspection_id": inspection_id, "account": account, "report": record.report}
    node = await store.find_node(record.node_id)
    if node is not None:
        uuids = [gpu.inventory.uuid for gpu in record.report.gpus]
        fields |= {
            "state": node.state,
            "hub": node.hub,
            "node_gpus": await store.value("count_gpus", node.node_id),
            "currencies": tuple(row["currency"] for row in await store.rows("currencies_of_hub", node.hub)),
            "passports": await store.passports(node.node_id, uuids),
        }
    await store.publish(HardwareInspected, record.node_id, record.received_ms, **fields)


HANDLERS: dict[type, Callable[[Store, Settings, MeterRecord], Awaitable[None]]] = {
    NodeEnrolled: take_enrolment,
    **dict.fromkeys((RenterReported, RenterJoined, DoorTried, NodeReleased), take_written),
    **dict.fromkeys((HubMeasured, DisputeRecorded, RequestAnswered), take_written),
    ChainMoved: take_move,
    GpusChanged: take_gpu_change,
    ChallengeJudged: take_verdict,
    LeaseAnswered: take_lease_answer,
    NodeInspected: take_inspection,
}
