"""Gates of operators with several nodes: their nonces leave at one moment, so that one chip passes for one node only.

Who holds a request hears of a gate at once, and who holds none by his next report: two nodes before one chip would pass
one after the other. So where several nodes of an operator sold hours with one gate, their nonces are held back until
all of these nodes hold a request, or until a part of the time has passed. Time runs from that moment for all of them. A
node that comes later, with its request or report, and is too slow for that reason, was late, as if it had missed the
gate.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import structlog

from schemas.nodes import Challenge
from services.delivery.effects import Effects, repeat
from services.delivery.outages import OutageWatch
from services.delivery.releases import Releases
from services.delivery.settings import Settings
from services.delivery.store import Store
from services.delivery.waiting import HeldRequests

GateOf = tuple[str, int]  # an account, and the moment of a gate


@dataclass
class Company:
    """The challenges of one operator at one gate that are held back, by node, and until when at the latest. [D-34]"""

    until_ms: int = 0
    by_node: defaultdict[str, list[Challenge]] = field(default_factory=lambda: defaultdict(list))

    def is_time(self, present: Collection[str], has_more: bool, time_ms: int) -> bool:
        """Says whether its nonces leave now: all nodes are there and none is to come, or it was long enough."""
        return time_ms >= self.until_ms or (not has_more and self.by_node.keys() <= set(present))


async def has_company(store: Store, settings: Settings, account: str, node_id: str, gate_ms: int) -> bool:
    """Says whether other nodes of an operator stand before the same gate."""
    return settings.judges("simultaneity") and await store.challenges.has_company(account, node_id, gate_ms)


async def hold_back(store: Store, settings: Settings, node_id: str, challenge: Challenge, gate_ms: int) -> None:
    """Keeps a challenge that was just issued from leaving before those of its company."""
    left_ms = challenge.deadline_ms - challenge.issued_ms
    until_ms = challenge.issued_ms + left_ms * settings.joint_gate_permille // 1_000
    await store.challenges.hold_back(challenge.challenge_id, gate_ms, until_ms)
    store.issued.remove((node_id, challenge))


class JointGates:
    """Lets the nonces that are held back leave when their time has come."""

    def __init__(
        self, settings: Settings, effects: Effects, held: HeldRequests, releases: Releases, watch: OutageWatch
    ):
        self._settings, self._effects, self._held = settings, effects, held
        self._releases, self._watch = releases, watch

    async def run(self) -> None:
        """Looks for ever; sits out a database that is away."""
        await repeat(self.step, self._settings.joint_gate_interval_s, "gates wait for PostgreSQL")

    async def step(self, time_ms: int) -> None:
        """Lets go of each company whose time has come."""
        if self._watch.is_away:
            return
        store = Store(self._effects.pool)
        for (account, gate_ms), company in (await self._companies(store)).items():
            has_more = await store.challenges.has_gate_ahead(account, gate_ms)
            if company.is_time(self._held.present, has_more, time_ms):
                await self._let_go(company, time_ms)

    async def _companies(self, store: Store) -> dict[GateOf, Company]:
        """Returns all that is held back; whoever could not reach a venue that was away has as long from its return."""
        found: defaultdict[GateOf, Company] = defaultdict(Company)
        for each in await store.challenges.held_back():
            company, challenge = found[each.account, each.joint_gate_ms], each.challenge
            back_ms = self._watch.back_ms + each.joint_until_ms - challenge.issued_ms
            company.until_ms = max(company.until_ms, each.joint_until_ms, back_ms)
            company.by_node[each.node].append(challenge)
        return found

    async def _let_go(self, company: Company, time_ms: int) -> None:
        ids = [challenge.challenge_id for challenges in company.by_node.values() for challenge in challenges]
        async with self._effects.transaction() as store:
            await store.challenges.let_go(ids, time_ms)
            store.after_commit.append(lambda: self._hand_out(company.by_node))

    def _hand_out(self, by_node: dict[str, Sequence[Challenge]]) -> None:
        """Starts the clock of all and hands out what can be; a venue without places for requests blames nobody."""
        absent = by_node.keys() - set(self._held.present)
        if len(by_node) > 1 and not self._held.is_full:
            self._releases.note(challenge.challenge_id for own in by_node.values() for challenge in own)
            self._releases.note_absent(challenge.challenge_id for name in absent for challenge in by_node[name])
        self._held.hand_out(by_node)
        structlog.get_logger().info("a gate of several nodes", nodes=len(by_node), absent=len(absent))
