"""The node's chain of reports: numbered, linked, signed, on disk before they are sent, kept until acknowledged."""

import json

from pydantic import TypeAdapter

from agents.node.identity import Identity
from agents.node.state import Journal, StateFolder
from schemas.nodes import GENESIS_HASH, Report, message_hash

JOURNAL = "chain.journal"
JOURNAL_BYTES_MAX = 1_000_000
REPORTS: TypeAdapter[list[Report]] = TypeAdapter(list[Report])


class ReportChain:
    """The chain's end and the reports that the venue has not acknowledged yet, oldest first.

    Each line of the journal is one step: `report`, `taken` (acknowledged), `nonce`, `again` (signed anew); `end` sums
    up what came before it. A line that a crash cut off was never acted on.
    """

    def __init__(self, identity: Identity, state: StateFolder) -> None:
        self._identity = identity
        self.seq, self.hash = 0, GENESIS_HASH
        self.nonce: str | None = None
        self.nonce_used = False
        self.waiting: list[Report] = []
        self._journal = Journal(state, JOURNAL)
        for kind, content in self._journal.read():
            STEPS[kind](self, content)
        self._sum_up()

    def append(self, **facts: object) -> Report:
        """Signs the next report and keeps it. Without a fresh nonce it repeats the last one and is marked `queued`."""
        queued = self.nonce_used or bool(self.waiting)
        report = self._identity.sign(
            Report, seq=self.seq + 1, prev_hash=self.hash, server_nonce=self.nonce, queued=queued, **facts
        )
        self._journal.append("report", report.canonical(), lasting=True)
        self._add(report)
        return report

    def acknowledge(self, report: Report, next_nonce: str) -> None:
        """Drops a report that the venue has, and takes the nonce for the next one."""
        self._step("taken", {"seq": report.seq, "nonce": next_nonce})
        if self._journal.size_bytes > JOURNAL_BYTES_MAX:
            self._sum_up()

    def renew_nonce(self, nonce: str) -> None:
        """Takes a nonce that the next report may use."""
        self._step("nonce", {"nonce": nonce}, lasting=True)

    def queue_refused(self, nonce: str) -> None:
        """Signs the waiting reports anew as queued ones: the venue has said that it took none of them, as stale.

        They repeat the nonce that they had; the nonce in the refusal is for the next live report. Where they were
        queued ones before, the venue does not know that nonce any more, and they take the new one.
        """
        previous, again = self.waiting[0].prev_hash, []
        forgotten = self.waiting[0].queued
        for report in self.waiting:
            fields = dict(report) | {"prev_hash": previous, "queued": True}
            if forgotten:
                fields["server_nonce"] = nonce
            del fields["signature"]
            again.append(self._identity.sign(Report, **fields))
            previous = message_hash(again[-1])
        content = REPORTS.dump_json(again)
        self._journal.append("again", content, lasting=True)
        self._on_again(content)
        self.renew_nonce(nonce)

    def _step(self, kind: str, document: dict, lasting: bool = False) -> None:
        content = json.dumps(document).encode()
        self._journal.append(kind, content, lasting)
        STEPS[kind](self, content)

    def _add(self, report: Report) -> None:
        self.waiting.append(report)
        self.seq, self.hash, self.nonce_used = report.seq, message_hash(report), True

    def _sum_up(self) -> None:
        end = {"seq": self.seq, "hash": self.hash, "nonce": self.nonce, "nonce_used": self.nonce_used}
        again = [("again", REPORTS.dump_json(self.waiting))] if self.waiting else []
        self._journal.rewrite([*again, ("end", json.dumps(end).encode())])

    # -- what each kind of line does -----------------------------------------------------------------------------------

    def _on_report(self, content: bytes) -> None:
        self._add(Report.model_validate_json(content))

    def _on_taken(self, content: bytes) -> None:
        taken = json.loads(content)
        self.waiting = [report for report in self.waiting if report.seq > taken["seq"]]
        self.nonce, self.nonce_used = taken["nonce"], False

    def _on_nonce(self, content: bytes) -> None:
        self.nonce, self.nonce_used = json.loads(content)["nonce"], False

    def _on_again(self, content: bytes) -> None:
        self.waiting = []
        for report in REPORTS.validate_json(content):
            self._add(report)

    def _on_end(self, content: bytes) -> None:
        end = json.loads(content)
        self.seq, self.hash = end["seq"], end["hash"]
        self.nonce, self.nonce_used = end["nonce"], end["nonce_used"]


STEPS = {
    "report": ReportChain._on_report,
    "taken": ReportChain._on_taken,
    "nonce": ReportChain._on_nonce,
    "again": ReportChain._on_again,
    "end": ReportChain._on_end,
}
