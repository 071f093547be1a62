"""Idle challenges: an operator's GPUs all at once, or a random half of a grade in a hub, at times nobody foresees.

The nonces of one sweep leave within a tenth of a second, over requests that nodes hold open, so that one GPU cannot
answer for two. GPUs under lease, or about to be, are left out. A node that holds no request gets its nonce with its
next report and was absent; one that is absent often stays out of the market until it is there.
"""

import asyncio
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import structlog

from schemas.nodes import Challenge
from services.delivery.effects import Effects, now_ms
from services.delivery.outages import OutageWatch
from services.delivery.proofs import issue_challenge
from services.delivery.releases import Releases
from services.delivery.settings import HOUR_MS, Settings
from services.delivery.store import Node, Store, node_of
from services.delivery.waiting import HeldRequests
from services.kit.readiness import Readiness
from services.kit.store import AWAY

Group = tuple[str, ...]  # ("account", name) or ("grade", name, hub)
STAGGER_MS = 5_000  # how far apart nonces lie where simultaneity is off


@dataclass(frozen=True)
class Idle:
    """A node with GPUs that nobody has: they may be asked to prove themselves."""

    node: Node
    gpus: tuple[str, ...]
    is_suspected: bool = False

    @property
    def groups(self) -> tuple[Group, Group]:
        """The two groups that the node is swept with."""
        return ("account", self.node.account), ("grade", self.node.grade, self.node.hub)


class Sweeps:
    """Draws when each group is swept, and sweeps it."""

    def __init__(
        self,
        settings: Settings,
        effects: Effects,
        held: HeldRequests,
        releases: Releases,
        watch: OutageWatch,
        readiness: Readiness,
    ):
        self._settings, self._effects, self._held, self._releases = settings, effects, held, releases
        self._watch, self._readiness = watch, readiness
        self._random = random.SystemRandom()
        self._next_ms: dict[Group, int] = {}
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        """Sweeps for ever; sits out a database that is away."""
        while True:
            try:
                await self.step(now_ms())
            except AWAY as error:
                structlog.get_logger().warning("sweeps wait for PostgreSQL", error=str(error))
            await asyncio.sleep(self._settings.sweep_interval_s)

    async def step(self, time_ms: int) -> None:
        """Sweeps the groups whose time has come, and the operators of nodes that are under suspicion."""
        if self._watch.is_away or self._readiness.waiting:
            return
        idle = await self._idle(Store(self._effects.pool), time_ms)
        due = self._due(idle, time_ms) if self._settings.judges("idle") else set()
        due |= {each.groups[0] for each in idle if each.is_suspected}
        chosen: dict[str, Idle] = {}
        for group in sorted(due):
            chosen |= {each.node.node_id: each for each in self._choose(group, idle)}
        if chosen:
            await self._sweep(self._within_bound(list(chosen.values())), time_ms)

    async def sweep_beside(self, account: str) -> None:
        """Asks an operator's idle GPUs at the moment in which a shopper has others prove themselves inside a lease.

        So whoever stops a lease's work to pass an exam with its GPU is slow in one of the two. Returns when the nonces
        have left.
        """
        if not self._settings.judges("simultaneity"):
            return
        time_ms = now_ms()
        idle = await self._idle(Store(self._effects.pool), time_ms)
        if chosen := self._choose(("account", account), idle):
            await self._sweep(self._within_bound(chosen), time_ms)

    async def _idle(self, store: Store, time_ms: int) -> list[Idle]:
        heard_ms = time_ms - self._settings.liveness_ms_max
        rows = await store.rows("idle_nodes", heard_ms, time_ms, self._settings.sweep_guard_ms)
        return [Idle(node_of(row), tuple(row["free_gpus"]), row["is_suspected"]) for row in rows if row["free_gpus"]]

    def _due(self, idle: Iterable[Idle], time_ms: int) -> set[Group]:
        """Returns the groups whose time has come; one that is seen first, or was just due, gets its next time."""
        periods: dict[Group, int] = {}
        for each in idle:
            period_ms = each.node.period_ms or HOUR_MS
            for group in each.groups:
                periods[group] = min(periods.get(group, period_ms), period_ms)
        due = {group for group in periods if self._next_ms.get(group, time_ms + 1) <= time_ms}
        for group, period_ms in periods.items():
            if group in due or group not in self._next_ms:
                self._next_ms[group] = time_ms + self._random.randint(*self._settings.idle_pause_ms(period_ms))
        self._next_ms = {group: at_ms for group, at_ms in self._next_ms.items() if group in periods}
        return due

    def _choose(self, group: Group, idle: Sequence[Idle]) -> list[Idle]:
        members = [each for each in idle if group in each.groups]
        if group[0] == "account":
            return members
        return self._random.sample(members, -(-len(members) // 2))

    def _within_bound(self, chosen: list[Idle]) -> list[Idle]:
        """Returns as many as the venue can verify, whole nodes, drawn at random."""
        self._random.shuffle(chosen)
        taken, gpus = [], 0
        for each in chosen:
            gpus += len(each.gpus)
            if taken and gpus > self._settings.sweep_gpus_max:
                break
            taken.append(each)
        return taken

    async def _sweep(self, chosen: Sequence[Idle], time_ms: int) -> None:
        """Gives all nonces out at one moment; one sweep at a time, so that no node is asked twice."""
        async with self._turn:
            await self._give_out(chosen, time_ms)

    async def _give_out(self, chosen: Sequence[Idle], time_ms: int) -> None:
        is_simultaneous = self._settings.judges("simultaneity")
        opens_ms = time_ms + self._settings.sweep_lead_ms
        issued: dict[str, list[Challenge]] = {}
        async with self._effects.transaction() as store:
            names = {each.node.node_id for each in chosen}  # a gate may have opened since they were chosen
            still_idle = [each for each in await self._idle(store, time_ms) if each.node.node_id in names]
            for place, each in enumerate(still_idle):
                at_ms = opens_ms if is_simultaneous else opens_ms + place * STAGGER_MS
                due = (time_ms, at_ms + self._settings.challenge_deadline_ms)
                challenge = await issue_challenge(store, self._settings, each.node, "idle", list(each.gpus), *due)
                await store.run("open_later", challenge.challenge_id, at_ms, is_simultaneous)
                issued[each.node.node_id] = [challenge]
            await store.run("clear_suspicions", list(issued))
            store.issued.clear()  # they are handed out at their own time
        if is_simultaneous:
            await asyncio.sleep(max(0, opens_ms - now_ms()) / 1_000)
            self._releases.begin_sweep(challenge.challenge_id for own in issued.values() for challenge in own)
            present = self._held.hand_out(issued)
            structlog.get_logger().info("swept", nodes=len(issued), present=present)


async def suspect(store: Store, node: Node, reason: str, from_ms: int = 0) -> None:
    """Has a node, and all of its operator's, proven again: at once or from a time on, and when it has idle GPUs."""
    await store.run("set_suspicion", node.node_id, reason, from_ms)
