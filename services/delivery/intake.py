"""Reports at the edge: each is placed in its node's chain under a lock, acknowledged when the broker has it."""

import secrets

from schemas.nodes import Challenge, NodeReported, PolicyHint, Report, ReportReply, message_hash
from services.delivery.domain import NodeBarred, NotThisNode
from services.delivery.edge import check_signature
from services.delivery.effects import Effects, PromptPublisher, now_ms
from services.delivery.leases import Lease, next_report_ms, start_of, stop_of
from services.delivery.metrics import REPORTS
from services.delivery.nodes import BARRED, take_down
from services.delivery.reports import (
    Chain,
    NonceStale,
    ReportForked,
    ReportLimits,
    TimeInflated,
    WindowsOverlap,
    check_nonce,
    extend_chain,
    give_nonce,
    place_report,
)
from services.delivery.settings import Settings
from services.delivery.store import ChainForReport, Store, lease_of, transaction

STATUS = {"next": "accepted", "duplicate": "duplicate", "early": "buffered"}


class Intake:
    """Takes reports, one at a time per node."""

    def __init__(self, settings: Settings, effects: Effects, publisher: PromptPublisher):
        self._settings, self._effects, self._publisher = settings, effects, publisher

    async def take(self, node_id: str, report: Report) -> ReportReply:
        """Takes a report. Raises a DeliveryError; a forked chain puts the node into quarantine."""
        if report.agent != node_id:
            raise NotThisNode(f"the path names {node_id}, the report {report.agent}")
        received_ms, stale = now_ms(), None
        try:
            async with transaction(self._effects.pool) as store:
                known = await store.chain_for_report(node_id, report.seq, received_ms)
                check_signature(report, known.node.public_key)
                if known.node.state in BARRED:
                    raise NodeBarred(f"the node is {known.node.state}: {known.node.reason}")
                limits = self._settings.limits(known.node.period_ms)
                try:
                    verdict, chain = await self._place(store, known, report, received_ms, limits)
                    reply = await self._reply(store, known, STATUS[verdict], report.seq, chain.nonce, limits)
                except NonceStale as error:
                    # The new nonce is kept under the same lock: no other copy of what was refused is taken later.
                    stale = error
                    stale.members |= await self._renew(store, known.chain, report, received_ms)
        except ReportForked:
            async with self._effects.transaction() as store:
                await take_down(store, await store.node(node_id, lock=True), "quarantined", "forked_chain", now_ms())
            raise
        if stale is not None:
            raise stale
        await self._publisher.published()
        REPORTS.labels(reply.status).inc()
        return reply

    async def _place(
        self, store: Store, known: ChainForReport, report: Report, received_ms: int, limits: ReportLimits
    ) -> tuple[str, Chain]:
        chain, digest = known.chain, message_hash(report)
        verdict = place_report(chain, report, digest, known.known_hash, limits)
        is_new = known.known_hash is None and verdict != "duplicate"
        if is_new:
            check_nonce(chain, report, received_ms, limits)
            issued_ms = None if report.queued else chain.nonce_issued_ms
            record = NodeReported(
                node_id=report.agent, received_ms=received_ms, nonce_issued_ms=issued_ms, report=report
            )
            if verdict == "early":
                await store.run("insert_waiting", report.agent, report.seq, digest, record.canonical())
            else:
                chain = await self._append(store, chain, record, limits)
                chain = await self._drain(store, report.agent, chain, limits)
        is_used = verdict == "next" or (is_new and not report.queued)
        if is_used or received_ms - chain.nonce_issued_ms > limits.interval_ms:
            kept = report.server_nonce if report.queued else None
            chain = give_nonce(chain, secrets.token_hex(32), received_ms, kept)
        await store.save_chain(report.agent, chain)
        return verdict, chain

    async def _append(self, store: Store, chain: Chain, record: NodeReported, limits: ReportLimits) -> Chain:
        digest = message_hash(record.report)
        chain = extend_chain(chain, record.report, digest, record.received_ms, limits)
        await store.run("insert_taken", record.node_id, record.report.seq, digest)
        await store.record(record.node_id, record)
        return chain

    async def _drain(self, store: Store, node_id: str, chain: Chain, limits: ReportLimits) -> Chain:
        """Appends the reports that waited for this one; a window among them that cannot be drops the rest."""
        while row := await store.row("pop_waiting", node_id, chain.seq + 1):
            record = NodeReported.model_validate_json(row["record"])
            place_report(chain, record.report, row["hash"], None, limits)
            try:
                chain = await self._append(store, chain, record, limits)
            except (WindowsOverlap, TimeInflated):
                await store.run("drop_waiting", node_id)
        return chain

    async def _renew(self, store: Store, chain: Chain, report: Report, received_ms: int) -> dict:
        renewed = give_nonce(chain, secrets.token_hex(32), received_ms, report.server_nonce)
        await store.save_chain(report.agent, renewed)
        return {"server_nonce": renewed.nonce, "server_time_ms": received_ms}

    async def _reply(
        self, store: Store, known: ChainForReport, status: str, seq: int, nonce: str, limits: ReportLimits
    ) -> ReportReply:
        node, time_ms = known.node, now_ms()
        rows = await store.rows("leases_to_follow", node.node_id) if known.is_leased else []
        asked = await store.rows("open_challenges", node.node_id, time_ms) if known.is_challenged else []
        leases = [(lease_of(row), row) for row in rows]
        starts = [start_of(lease, row["told_ends_ms"]) for lease, row in leases if _may_start(lease, row, time_ms)]
        stops = [stop_of(lease) for lease, row in leases if _must_stop(lease, row, time_ms)]
        rhythm = ([lease for lease, _ in leases], bool(stops), time_ms, limits.interval_ms, known.gate_ms)
        return ReportReply(
            status=status,
            seq=seq,
            next_nonce=nonce,
            server_time_ms=time_ms,
            report_interval_ms=next_report_ms(*rhythm),
            level=node.level,
            node_state=node.state,
            challenges=tuple(Challenge.model_validate_json(row["asked"]) for row in asked),
            start_leases=tuple(starts),
            stop_leases=tuple(stops),
            hint=PolicyHint(sell=node.state == "active", reason="" if node.state == "active" else node.reason),
        )


def _may_start(lease: Lease, row, time_ms: int) -> bool:
    return lease.state == "ready" and row["start_answered_ms"] is None and lease.ends_ms > time_ms


def _must_stop(lease: Lease, row, time_ms: int) -> bool:
    is_open = row["start_answered_ms"] is not None and row["stop_answered_ms"] is None
    return is_open and (lease.state in ("failed", "ended") or lease.ends_ms <= time_ms)
