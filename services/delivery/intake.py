"""Reports at the edge: placed in their nodes' chains a batch at a time, acknowledged when the broker has them.

Whatever arrives while one batch is being written makes up the next, and under load the next waits a moment for more:
many reports share one transaction, and a single report waits for nothing. A batch is committed with its records in the
meter's table, then sent to the broker from memory; what a crash kept from being sent is found in `report_batch`.
"""

import asyncio
import secrets
from collections.abc import Sequence
from hashlib import sha256

import structlog
from aiokafka.errors import KafkaError

from schemas.nodes import Challenge, NodeReported, PolicyHint, Report, ReportReply, signing_bytes
from services.delivery.domain import (
    BadSignature,
    DeliveryError,
    NodeBarred,
    NotThisNode,
    check_record,
)
from services.delivery.effects import Effects, now_ms
from services.delivery.leases import Admission, Lease, may_start, must_stop, next_report_ms, start_of, stop_of
from services.delivery.metrics import REPORTS
from services.delivery.moving import check_not_out
from services.delivery.nodes import take_down
from services.delivery.outages import OutageWatch
from services.delivery.releases import Releases
from services.delivery.report_batches import Answer, Arrival, Batch
from services.delivery.report_log import ReportLog
from services.delivery.report_records import FreshReports, VerifiedReport, record_bytes
from services.delivery.reports import (
    Chain,
    NonceStale,
    ReportForked,
    ReportLimits,
    TimeInflated,
    WindowsOverlap,
    check_named_once,
    check_nonce,
    extend_chain,
    give_nonce,
    place_report,
)
from services.delivery.settings import Settings
from services.delivery.store import Placed, Store, transaction
from services.kit.keys import signature_holds
from services.kit.stopping import stop_client
from services.kit.store import AWAY

ARRIVED_MAX = 10_000  # reports that wait for PostgreSQL or the broker; more are sent away to come again
BUSY_FROM = 8  # a batch as large as this speaks of load
STATUS = {"next": "accepted", "duplicate": "duplicate", "early": "buffered"}


class Stopping(DeliveryError):
    """The service ends before it could take the report; the node sends it again."""

    code, status, retryable = "unavailable", 503, True


class Busy(ConnectionError):
    """Too many reports wait already: PostgreSQL or the broker is away, or the load is beyond this machine."""


class Intake:
    """Takes reports. `run` has to be at work for `take` to return."""

    def __init__(
        self, settings: Settings, effects: Effects, fresh: FreshReports, watch: OutageWatch, releases: Releases
    ):
        self._settings, self._effects, self._fresh, self._watch = settings, effects, fresh, watch
        self._releases = releases
        self._arrived: list[Arrival] = []
        self._wake = asyncio.Event()
        self._sent: list[int] = []  # batches that the broker has, and the table still names
        self._last: asyncio.Task | None = None  # until this is done the broker may lack something that was committed
        self._is_sure = False  # whether everything that is committed has been sent

    async def take(self, node_id: str, report: Report) -> ReportReply:
        """Takes a report. Raises a DeliveryError; a forked chain puts the node into quarantine."""
        if report.agent != node_id:
            raise NotThisNode(f"the path names {node_id}, the report {report.agent}")
        check_named_once(gpu.uuid for gpu in report.gpus)
        arrival = Arrival(report, signing_bytes(report), now_ms(), asyncio.get_running_loop().create_future())
        check_record(arrival.signed)
        with self._watch.taking():
            if len(self._arrived) >= ARRIVED_MAX:
                raise Busy("too many reports wait")
            self._arrived.append(arrival)
            self._wake.set()
            reply = await arrival.reply
        REPORTS.labels(reply.status).inc()
        return reply

    async def run(self) -> None:
        """Takes whatever has arrived, batch after batch. Raises KafkaError where the broker stays away."""
        log = await ReportLog.open(self._settings)
        batch: list[Arrival] = []
        try:
            async with asyncio.TaskGroup() as answers:
                await self._send_all_left(log)
                while True:
                    await self._wake.wait()
                    self._wake.clear()
                    while self._arrived:
                        batch = self._arrived[: self._settings.reports_per_batch_max]
                        del self._arrived[: len(batch)]
                        await self._take(log, answers, batch)
                        if len(batch) >= BUSY_FROM:
                            await asyncio.sleep(self._settings.report_linger_s)
        finally:
            for arrival in (*batch, *self._arrived):
                arrival.answer(Stopping("the service is being stopped"))
            await stop_client(log.producer)

    async def _take(self, log: ReportLog, answers: asyncio.TaskGroup, arrivals: Sequence[Arrival]) -> None:
        """Commits a batch and sends it; the answers follow when the broker has it and everything before it."""
        try:
            if not self._is_sure:
                await self._send_left(log)
            sent = list(self._sent)
            async with transaction(self._effects.pool) as store:
                batch, outcomes, batch_id = await self._place_all(store, arrivals, sent)
            del self._sent[: len(sent)]
        except KafkaError:
            raise
        except Exception as error:
            self._is_sure = False  # it may be committed all the same
            if isinstance(error, AWAY) or len(arrivals) == 1:
                for arrival in arrivals:
                    arrival.answer(error)
                return
            # One report must not spoil the others': each has a transaction of its own now.
            structlog.get_logger().error("a batch of reports is taken one by one", error=repr(error))
            for arrival in arrivals:
                await self._take(log, answers, [arrival])
            return
        for each in batch.taken:
            self._fresh.put(each.value, each.report)
        sending = await log.send(batch.records)
        outcomes = await self._quarantine(batch.forked, arrivals, outcomes)
        self._last = answers.create_task(self._answer(self._last, sending, batch_id, arrivals, outcomes))

    async def _answer(
        self,
        before: asyncio.Task | None,
        sending: Sequence[asyncio.Future],
        batch_id: int | None,
        arrivals: Sequence[Arrival],
        outcomes: Sequence[ReportReply | Exception],
    ) -> None:
        try:
            if before is not None:
                await before
            await asyncio.gather(*sending)
            if batch_id is not None:
                self._sent.append(batch_id)
            for arrival, outcome in zip(arrivals, outcomes, strict=True):
                if isinstance(outcome, ReportReply) and outcome.challenges:
                    self._releases.note(challenge.challenge_id for challenge in outcome.challenges)
                arrival.answer(outcome)
        finally:
            for arrival in arrivals:
                arrival.answer(Stopping("the service is being stopped"))

    async def _send_all_left(self, log: ReportLog) -> None:
        while not self._is_sure:
            try:
                await self._send_left(log)
            except AWAY as error:
                structlog.get_logger().warning("reports wait for PostgreSQL", error=str(error))
                await asyncio.sleep(self._settings.reconnect_delay_s)

    async def _send_left(self, log: ReportLog) -> None:
        """Sends what was committed and not sent: before a crash, or in a commit whose answer was lost."""
        if self._last is not None:
            await self._last
        store = Store(self._effects.pool)
        for row in await store.rows("report_batches"):
            if row["batch_id"] not in self._sent:
                await asyncio.gather(*await log.send(await store.records_of_batch(row)))
                self._sent.append(row["batch_id"])
        self._is_sure = True

    async def _quarantine(
        self, node_ids: set[str], arrivals: Sequence[Arrival], outcomes: list[ReportReply | Exception]
    ) -> list[ReportReply | Exception]:
        """Puts nodes with two histories into quarantine; where that cannot be now, they hear so and come again."""
        for node_id in sorted(node_ids):
            try:
                async with self._effects.transaction() as store:
                    node = await store.node(node_id, lock=True)
                    await take_down(store, node, "quarantined", "forked_chain", now_ms())
            except AWAY as error:
                pairs = zip(arrivals, outcomes, strict=True)
                outcomes = [error if arrival.report.agent == node_id else outcome for arrival, outcome in pairs]
        return outcomes

    async def _place_all(
        self, store: Store, arrivals: Sequence[Arrival], sent: list[int]
    ) -> tuple[Batch, list[ReportReply | DeliveryError], int | None]:
        """Places each report behind those before it, and writes what they leave.

        `sent` are batches that the broker has. Returns an outcome for each report, and the id of their batch, if any
        goes to the broker.
        """
        reports = [arrival.report for arrival in arrivals]
        node_ids = sorted({report.agent for report in reports})
        chains = await store.chains(node_ids)
        nodes = await store.nodes_for_reports(node_ids, max(arrival.received_ms for arrival in arrivals))
        hashes = await store.report_hashes([(report.agent, report.seq) for report in reports])
        batch = Batch(nodes, chains, hashes)
        placed: list[Answer | DeliveryError] = []
        for arrival in arrivals:
            try:
                placed.append(await self._place(store, batch, arrival))
            except ReportForked as error:
                batch.forked.add(arrival.report.agent)
                placed.append(error)
            except DeliveryError as error:
                placed.append(error)
        if sent:
            await store.run("forget_report_batches", sent)
        batch_id = await store.save_reports(batch.taken) if batch.taken else None
        if batch.changed:
            await store.save_chains({node_id: batch.chains[node_id] for node_id in sorted(batch.changed)})
        return batch, await self._replies(store, batch, placed), batch_id

    async def _place(self, store: Store, batch: Batch, arrival: Arrival) -> Answer:
        """Places one report. Raises a DeliveryError, having written nothing but the nonce for a stale one."""
        report, received_ms = arrival.report, arrival.received_ms
        known, chain = batch.known(report)
        if not signature_holds(known.public_key, report.signature, arrival.signed):
            raise BadSignature("the report is not signed by the node's key")
        check_not_out(known)
        if report.agent in batch.forked:
            raise NodeBarred("the node has signed two histories")
        limits = self._settings.limits(known.period_ms)
        digest, known_hash = sha256(arrival.signed).hexdigest(), batch.hashes.get((report.agent, report.seq))
        if known_hash not in (None, digest) and report.seq > chain.seq:
            # What waits is in no history yet: the agent signs it anew where one before it was refused.
            await store.run("drop_waiting", report.agent)
            known_hash = None
        verdict = place_report(chain, report, digest, known_hash, limits)
        is_new = known_hash is None and verdict != "duplicate"
        if is_new:
            try:
                check_nonce(chain, report, received_ms, limits)
            except NonceStale as error:
                # The new nonce is kept under the same lock: no other copy of what was refused is taken later.
                chain = give_nonce(chain, secrets.token_hex(32), received_ms, report.server_nonce)
                batch.keep(report.agent, chain)
                error.members |= {"server_nonce": chain.nonce, "server_time_ms": received_ms}
                raise
            issued_ms = None if report.queued else chain.nonce_issued_ms
            record = NodeReported(
                node_id=report.agent, received_ms=received_ms, nonce_issued_ms=issued_ms, report=report
            )
            value = record_bytes(report.agent, received_ms, issued_ms, arrival.signed, report.signature)
            chain = await self._add(store, batch, chain, Placed(VerifiedReport(record, digest), value), verdict, limits)
        is_used = verdict == "next" or (is_new and not report.queued)
        if is_used or received_ms - chain.nonce_issued_ms > limits.interval_ms:
            kept = report.server_nonce if report.queued else None
            chain = give_nonce(chain, secrets.token_hex(32), received_ms, kept)
            batch.keep(report.agent, chain)
        return Answer(arrival, STATUS[verdict], chain.nonce)

    async def _add(
        self, store: Store, batch: Batch, chain: Chain, placed: Placed, verdict: str, limits: ReportLimits
    ) -> Chain:
        """Adds a report to the chain, or to those that wait for their predecessor; returns where the chain stands."""
        report, digest = placed.report.record.report, placed.report.digest
        if verdict == "early":
            batch.hashes[report.agent, report.seq] = digest
            batch.nodes[report.agent].has_waiting = True
            await store.run("insert_waiting", report.agent, report.seq, digest, placed.value)
            return chain
        chain = _append(batch, chain, placed, limits)
        if batch.nodes[report.agent].has_waiting:
            chain = await self._drain(store, batch, chain, report.agent, limits)
        return chain

    async def _drain(self, store: Store, batch: Batch, chain: Chain, node_id: str, limits: ReportLimits) -> Chain:
        """Appends the reports that waited for this one; one that cannot follow drops them all.

        One that follows another report was signed before that one was refused, and comes again.
        """
        while row := await store.row("pop_waiting", node_id, chain.seq + 1):
            record = NodeReported.model_validate_json(row["record"])
            try:
                place_report(chain, record.report, row["hash"], None, limits)
                waited = Placed(VerifiedReport(record, row["hash"]), row["record"])
                chain = _append(batch, chain, waited, limits)
            except (ReportForked, WindowsOverlap, TimeInflated):
                await store.run("drop_waiting", node_id)
        return chain

    async def _replies(
        self, store: Store, batch: Batch, placed: Sequence[Answer | DeliveryError]
    ) -> list[ReportReply | DeliveryError]:
        time_ms = now_ms()
        leases = await store.leases.of_nodes([n for n, k in batch.nodes.items() if k.is_leased])
        challenged = [node_id for node_id, known in batch.nodes.items() if known.is_challenged]
        asked = await store.challenges.open_of_nodes(challenged, time_ms)
        replies: list[ReportReply | DeliveryError] = []
        for outcome in placed:
            if isinstance(outcome, DeliveryError):
                replies.append(outcome)
                continue
            node_id = outcome.arrival.report.agent
            replies.append(self._reply(outcome, batch, leases.get(node_id, ()), asked.get(node_id, ()), time_ms))
        return replies

    def _reply(
        self,
        answer: Answer,
        batch: Batch,
        leases: Sequence[tuple[Lease, Admission]],
        asked: Sequence[Challenge],
        time_ms: int,
    ) -> ReportReply:
        node = batch.nodes[answer.arrival.report.agent]
        known = [lease for lease, _ in leases]
        starts = [start_of(lease, admission) for lease, admission in leases if may_start(lease, known, time_ms)]
        stops = [stop_of(lease) for lease, _ in leases if must_stop(lease, time_ms)]
        interval_ms = self._settings.limits(node.period_ms).interval_ms
        rhythm = (known, bool(stops), time_ms, interval_ms, node.gate_ms)
        return ReportReply(
            status=answer.status,
            seq=answer.arrival.report.seq,
            next_nonce=answer.nonce,
            server_time_ms=time_ms,
            report_interval_ms=next_report_ms(*rhythm),
            level=node.level,
            node_state=node.state,
            challenges=tuple(asked),
            start_leases=tuple(starts),
            stop_leases=tuple(stops),
            hint=PolicyHint(
                sell=node.state == "active",
                reason="" if node.state == "active" else node.reason,
                agent_at_least=self._settings.agent_version_min,
            ),
        )


def _append(batch: Batch, chain: Chain, placed: Placed, limits: ReportLimits) -> Chain:
    record, digest = placed.report.record, placed.report.digest
    chain = extend_chain(chain, record.report, digest, record.received_ms, limits)
    batch.hashes[record.node_id, record.report.seq] = digest
    batch.taken.append(placed)
    batch.keep(record.node_id, chain)
    return chain
