"""Idle challenges: an operator's GPUs all at once, or a random half of a grade in a hub, at times nobody foresees.

The nonces of one sweep leave within a tenth of a second, over requests that nodes hold open, so that one GPU cannot
answer for two. GPUs under lease, or about to be, are left out. A node that holds no request gets its nonce with its
next report and was absent; one that is absent often stays out of the market until it is there.

A node that is out for absence, or for the odd speed of its proofs, comes back by a sweep only, together with all idle
GPUs of its operator: proven by itself it could show a chip that answers for the others meanwhile.
"""

import asyncio
import random
import secrets
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import structlog

from schemas.nodes import Challenge
from services.delivery.domain import sellable_gpus
from services.delivery.effects import Effects, now_ms, repeat
from services.delivery.outages import OutageWatch
from services.delivery.proofs import issue_challenge
from services.delivery.releases import Releases
from services.delivery.settings import HOUR_MS, Settings
from services.delivery.store import Node, Store, node_of
from services.delivery.waiting import HeldRequests
from services.kit.readiness import Readiness

Group = tuple[str, ...]  # ("account", name) or ("grade", name, hub)
STAGGER_MS = 5_000  # how far apart nonces lie where simultaneity is off


@dataclass(frozen=True)
class Idle:
    """A node with GPUs that nobody has: they may be asked to prove themselves, unless it `is_busy`.

    One that `is_back` is out of the market, or in part, and wants to be in it again; without a request it is not asked.
    """

    node: Node
    gpus: tuple[str, ...]
    is_suspected: bool = False
    is_busy: bool = False
    is_back: bool = False

    @property
    def groups(self) -> tuple[Group, Group]:
        """The two groups that the node is swept with."""
        return ("account", self.node.account), ("grade", self.node.grade, self.node.hub)


class Sweeps:
    """Draws when each group is swept, and sweeps it. [D-33]"""

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
        self._back_ms: dict[str, tuple[int, int]] = {}  # when a node may come back, and the pause before that
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        """Sweeps for ever; sits out a database that is away."""
        await repeat(self.step, self._settings.sweep_interval_s, "sweeps wait for PostgreSQL")

    async def step(self, time_ms: int) -> None:
        """Sweeps the groups whose time has come, and the operators of nodes that are under suspicion."""
        if self._watch.is_away or self._readiness.waiting:
            return
        idle = await self._to_ask(Store(self._effects.pool), time_ms)
        due = self._due(idle, time_ms) if self._settings.judges("idle") else set()
        due |= {each.groups[0] for each in idle if each.is_suspected or self._may_come_back(each, time_ms)}
        chosen: dict[str, Idle] = {}
        for group in sorted(due):
            chosen |= {each.node.node_id: each for each in self._choose(group, idle)}
        if chosen:
            await self._sweep(list(chosen.values()), time_ms)

    async def sweep_beside(self, account: str) -> None:
        """Asks an operator's idle GPUs at the moment in which a shopper has others prove themselves inside a lease.

        So whoever stops a lease's work to pass an exam with its GPU is slow in one of the two. Returns when the nonces
        have left.
        """
        if not self._settings.judges("simultaneity"):
            return
        time_ms = now_ms()
        idle = await self._to_ask(Store(self._effects.pool), time_ms)
        if chosen := self._choose(("account", account), idle):
            await self._sweep(chosen, time_ms)

    async def _to_ask(self, store: Store, time_ms: int) -> list[Idle]:
        """Returns the nodes with GPUs that nobody has, in the market or on their way back to it."""
        heard_ms = time_ms - self._settings.liveness_ms_max
        rows = await store.rows("idle_nodes", heard_ms, time_ms, self._settings.sweep_guard_ms)
        found = {
            row["node_id"]: Idle(node_of(row), tuple(row["free_gpus"]), row["is_suspected"], row["is_busy"])
            for row in rows
            if row["free_gpus"]
        }
        present = self._held.present
        for row in await store.rows("nodes_to_return", heard_ms, self._settings.absences_max, present):
            node = node_of(row)
            is_away = node.node_id not in present
            fit = sellable_gpus(node.grade, await store.fitness(node.node_id))
            if fit and fit != node.registered_gpus and not self._settings.unprovable(node.grade, node.simulated):
                known = found.get(node.node_id)
                found[node.node_id] = Idle(node, fit, known is not None and known.is_suspected, is_away, is_back=True)
        return list(found.values())

    def _may_come_back(self, each: Idle, time_ms: int) -> bool:
        """Says whether a node on its way back is proven again now: soon at first, then after pauses that double."""
        if not each.is_back or each.is_busy:
            return False
        longest_ms = self._settings.idle_pause_ms(each.node.period_ms or HOUR_MS)[0]
        self._back_ms = {name: times for name, times in self._back_ms.items() if times[0] > time_ms - 2 * longest_ms}
        retry_ms = self._settings.challenge_retry_ms
        at_ms, pause_ms = self._back_ms.setdefault(each.node.node_id, (time_ms + retry_ms, retry_ms))
        if at_ms > time_ms:
            return False
        pause_ms = min(2 * pause_ms, longest_ms)
        self._back_ms[each.node.node_id] = (time_ms + pause_ms, pause_ms)
        return True

    def _due(self, idle: Iterable[Idle], time_ms: int) -> set[Group]:
        """Returns the groups whose time has come; one that is seen first, or was just due, gets its next time.

        One that has nobody to ask for a moment keeps its time.
        """
        periods: dict[Group, int] = {}
        askable: set[Group] = set()
        for each in (each for each in idle if not each.is_back):
            period_ms = each.node.period_ms or HOUR_MS
            for group in each.groups:
                periods[group] = min(periods.get(group, period_ms), period_ms)
            askable.update(() if each.is_busy else each.groups)
        due = {group for group in askable if self._next_ms.get(group, time_ms + 1) <= time_ms}
        for group, period_ms in periods.items():
            if group in due or group not in self._next_ms:
                self._next_ms[group] = time_ms + self._random.randint(*self._settings.idle_pause_ms(period_ms))
        self._next_ms = {g: at_ms for g, at_ms in self._next_ms.items() if g in periods or at_ms > time_ms}
        return due

    def _choose(self, group: Group, idle: Sequence[Idle]) -> list[Idle]:
        members = [each for each in idle if group in each.groups and not each.is_busy]
        if group[0] == "account":
            return members
        members = [each for each in members if not each.is_back]
        return self._random.sample(members, -(-len(members) // 2))

    def _within_bound(self, chosen: list[Idle]) -> list[Idle]:
        """Returns as many as the venue can verify, whole nodes: those on their way back, and others drawn at random."""
        self._random.shuffle(chosen)
        chosen.sort(key=lambda each: not each.is_back)
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
        taken = {each.node.node_id for each in self._within_bound(list(chosen))}
        issued: dict[str, list[Challenge]] = {}
        async with self._effects.transaction() as store:
            idle = await self._to_ask(store, time_ms)  # a gate may have opened since they were chosen
            sweeps = whole_sweeps(idle, {each.node.node_id for each in chosen})
            still_idle = [each for each in idle if each.node.node_id in taken and not each.is_busy]
            for place, each in enumerate(still_idle):
                at_ms = opens_ms if is_simultaneous else opens_ms + place * STAGGER_MS
                due = (time_ms, at_ms + self._settings.challenge_deadline_ms)
                challenge = await issue_challenge(store, self._settings, each.node, "idle", list(each.gpus), *due)
                sweep = sweeps.get(each.node.account)
                await store.challenges.open_later(challenge.challenge_id, at_ms, is_simultaneous, sweep)
                issued[each.node.node_id] = [challenge]
            await store.run("clear_suspicions", list(issued))
            store.issued.clear()  # they are handed out at their own time
        if is_simultaneous:
            await asyncio.sleep(max(0, opens_ms - now_ms()) / 1_000)
            self._releases.begin_sweep(challenge.challenge_id for own in issued.values() for challenge in own)
            present = self._held.hand_out(issued)
            structlog.get_logger().info("swept", nodes=len(issued), present=present)


def whole_sweeps(idle: Iterable[Idle], chosen: Collection[str]) -> dict[str, str]:
    """Names the sweep of each account all of whose idle nodes were chosen, none of them being busy."""
    left_out = {each.node.account for each in idle if each.is_busy or each.node.node_id not in chosen}
    whole = {each.node.account for each in idle} - left_out
    return {account: f"sw-{secrets.token_hex(12)}" for account in sorted(whole)}


async def suspect(store: Store, node: Node, reason: str, from_ms: int = 0) -> None:
    """Has a node, and all of its operator's, proven again: at once or from a time on, and when it has idle GPUs."""
    await store.run("set_suspicion", node.node_id, reason, from_ms)
