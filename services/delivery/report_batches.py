"""What a batch of reports finds on its way in, and what it leaves to be written and answered."""

import asyncio
from dataclasses import dataclass, field

from schemas.nodes import Report, ReportReply
from services.delivery.domain import UnknownNode
from services.delivery.reports import Chain
from services.delivery.store import NodeForReport, Placed


@dataclass
class Arrival:
    """A report on its way in, the bytes that its node signed, and who waits for what becomes of it."""

    report: Report
    signed: bytes
    received_ms: int
    reply: asyncio.Future

    def answer(self, outcome: ReportReply | Exception) -> None:
        """Says what became of the report; a caller who has gone hears nothing."""
        if self.reply.done():
            return
        if isinstance(outcome, Exception):
            self.reply.set_exception(outcome)
        else:
            self.reply.set_result(outcome)


@dataclass
class Batch:
    """What the reports of one transaction find, and what they leave to be written at its end."""

    nodes: dict[str, NodeForReport]
    chains: dict[str, Chain]
    hashes: dict[tuple[str, int], str]
    taken: list[Placed] = field(default_factory=list)
    changed: set[str] = field(default_factory=set)
    forked: set[str] = field(default_factory=set)

    def known(self, report: Report) -> tuple[NodeForReport, Chain]:
        """Returns the node that a report names, and its chain. Raises UnknownNode."""
        if report.agent not in self.nodes:
            raise UnknownNode(report.agent)
        return self.nodes[report.agent], self.chains[report.agent]

    @property
    def records(self) -> list[tuple[str, bytes]]:
        """What goes to the broker: (node id, value)."""
        return [(each.report.record.node_id, each.value) for each in self.taken]

    def keep(self, node_id: str, chain: Chain) -> None:
        """Lets a chain go on from here."""
        self.chains[node_id] = chain
        self.changed.add(node_id)


@dataclass(frozen=True)
class Answer:
    """A report that was taken, and what its reply says besides what the node's leases and challenges add to it."""

    arrival: Arrival
    status: str
    nonce: str
