"""What time brings: heartbeats for the engine, challenges given out or up, leases over or silent, settlements due."""

import asyncio
import time
from itertools import groupby

import structlog

from schemas.delivery import LeaseEnded
from schemas.venue import NodesAlive
from services.delivery.disputes import decide_due
from services.delivery.domain import sellable_gpus
from services.delivery.effects import Effects, now_ms
from services.delivery.handlers import fail_lease
from services.delivery.joint_gates import hold_back
from services.delivery.leases import RESTORED
from services.delivery.nodes import bar_unprovable, take_down
from services.delivery.outages import OutageWatch
from services.delivery.proofs import give_up, issue_challenge
from services.delivery.settings import Settings
from services.delivery.settling import Moment, correct_changed, settle_due
from services.delivery.store import Store, node_of
from services.delivery.verifying import Verifier
from services.kit.readiness import Readiness
from services.kit.store import AWAY

BEATS_PER_LIFE = 3
LOOK_PAUSES = 50  # a look at all nodes is followed by so many times its duration without one,
LOOK_PAUSE_S_MAX = 5.0  # and by no more than this


class Scheduler:
    """Looks at the clock. What touches money waits for the log's own deadlines, not for this one."""

    def __init__(
        self,
        settings: Settings,
        effects: Effects,
        watch: OutageWatch,
        readiness: Readiness,
        verifier: Verifier,
    ):
        self._settings, self._effects, self._watch, self._readiness = settings, effects, watch, readiness
        self._verifier = verifier
        self._beaten_ms, self._look_s = 0, 0.0

    async def run(self) -> None:
        """Runs for ever; sits out a database that is away."""
        work = self._recover
        while True:
            try:
                await work(now_ms())
                work = self._step
            except AWAY as error:
                structlog.get_logger().warning("scheduler waits for PostgreSQL", error=str(error))
            await asyncio.sleep(self._settings.scheduler_interval_s)

    async def _recover(self, time_ms: int) -> None:
        """Nobody could answer a challenge while we were away: open ones are given out anew, with time. [D-31]"""
        async with self._effects.transaction() as store:
            await bar_unprovable(store, self._settings, time_ms)
        await self._challenge_anew(time_ms, until_ms=None)

    async def _challenge_anew(self, time_ms: int, until_ms: int | None) -> None:
        """Gives out anew the open challenges that are due before a time; None: all."""
        async with self._effects.transaction() as store:
            for known in await store.challenges.open_everywhere():
                asked = known.challenge
                if until_ms is not None and asked.deadline_ms > until_ms:
                    continue
                await store.challenges.void(known.challenge_id)
                deadline_ms = max(asked.deadline_ms, time_ms + self._settings.challenge_restart_ms)
                node = await store.node(known.node)
                target = (node, known.cause, list(asked.gpu_uuids), time_ms, deadline_ms, known.lease_id)
                challenge = await issue_challenge(store, self._settings, *target)
                if known.joint_gate_ms is not None:
                    await hold_back(store, self._settings, node.node_id, challenge, known.joint_gate_ms)
                await store.positions.offer_anew(known.lease_id, time_ms)

    async def _step(self, time_ms: int) -> None:
        self._watch.look_at_clock(time_ms)
        is_away = self._watch.is_away
        if not is_away and self._watch.take_end():
            await self._challenge_anew(time_ms, time_ms + self._settings.challenge_restart_ms)
        async with self._effects.transaction() as store:
            if not is_away:
                await self._give_up_late(store, time_ms)
            if not self._readiness.waiting:  # a lease that comes again with the log may go on in its next hour
                await self._end_leases(store, time_ms)
            if not is_away:
                await self._fail_silent(store, time_ms)
            await self._challenge_nodes(store, time_ms)
            is_time = time_ms - self._beaten_ms >= self._settings.liveness_ms_min // BEATS_PER_LIFE
            self._beaten_ms = time_ms if is_time else self._beaten_ms
            await self._beat(store, is_time)
        if not is_away and not self._readiness.waiting:
            moment = Moment(time_ms, self._watch.back_ms)
            await settle_due(self._effects, self._settings, moment)
            await correct_changed(self._effects, self._settings, moment)
            await decide_due(self._effects, self._settings, time_ms)

    async def _give_up_late(self, store: Store, time_ms: int) -> None:
        for late in await store.challenges.late(time_ms):
            if late.challenge_id not in self._verifier.under_way:
                await give_up(store, self._settings, late, time_ms)

    async def _end_leases(self, store: Store, time_ms: int) -> None:
        for lease in await store.leases.overdue(time_ms):
            if lease.state != "started":
                await fail_lease(store, lease, "never_started", time_ms)
                continue
            await store.leases.set_state(lease.lease_id, "ended")
            if lease.reason == RESTORED:
                continue
            fields = {"lease_id": lease.lease_id, "contract": lease.contract, "ok": True, "reason": "ended"}
            await store.publish(LeaseEnded, lease.node, time_ms, **fields)
        for lease in await store.leases.recalled(time_ms):
            await fail_lease(store, lease, "recalled", time_ms)

    async def _fail_silent(self, store: Store, time_ms: int) -> None:
        for lease, last_live_ms, period_ms in await store.leases.running(time_ms):
            heard_ms = max(last_live_ms or 0, self._watch.back_ms)
            if time_ms - heard_ms > self._settings.limits(period_ms).silence_ms_max:
                await fail_lease(store, lease, "silent", time_ms)

    async def _challenge_nodes(self, store: Store, time_ms: int) -> None:
        """A node with fit GPUs that the engine does not know yet proves them all before it may sell them.

        Finding such a node means looking at all, so that a large venue looks less often than a small one. One that is
        in doubt, or was absent from sweeps, comes back by a sweep. [D-25]
        """
        began_s = time.monotonic()
        if began_s < self._look_s:
            return
        heard_ms = time_ms - self._settings.liveness_ms_max
        retry_ms = time_ms - self._settings.challenge_retry_ms
        rows = await store.rows("nodes_to_challenge", heard_ms, retry_ms, self._settings.absences_max)
        self._look_s = began_s + min(LOOK_PAUSES * (time.monotonic() - began_s), LOOK_PAUSE_S_MAX)
        for row in rows:
            node = node_of(row)
            if reason := self._settings.unprovable(node.grade, node.simulated):
                await take_down(store, node, "quarantined" if node.simulated else "enrolled", reason, time_ms)
                continue
            fit = sellable_gpus(node.grade, await store.fitness(node.node_id))
            if fit and fit != node.registered_gpus:
                deadline_ms = time_ms + self._settings.challenge_deadline_ms
                await issue_challenge(store, self._settings, node, "idle", list(fit), time_ms, deadline_ms)

    async def _beat(self, store: Store, is_time: bool) -> None:
        """Tells the engine which nodes reported since their last beat; between beats only of those just come up."""
        rows = await store.rows("nodes_to_beat", is_time)
        if rows:
            await store.run("note_beats", [row["node_id"] for row in rows], [row["last_live_ms"] for row in rows])
        timed = [(self._settings.liveness_ms(self._settings.limits(row["period_ms"])), row) for row in rows]
        commands = []
        for liveness_ms, group in groupby(sorted(timed, key=lambda pair: pair[0]), key=lambda pair: pair[0]):
            alive = [row for _, row in group]
            until_ms = min(row["last_live_ms"] for row in alive) + liveness_ms
            commands.append(NodesAlive(nodes=tuple(row["node_id"] for row in alive), until_ms=until_ms))
        if commands:
            await store.command(*commands)
