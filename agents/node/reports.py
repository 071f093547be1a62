"""The node's chain of reports: numbered, linked, signed, on disk before they are sent, kept until acknowledged."""

import json
import logging
import shutil
from collections.abc import Callable, Iterable
from itertools import chain

from pydantic import TypeAdapter

from agents.node.identity import CHAIN_FILE, Identity
from agents.node.kept import KeptReports
from agents.node.state import Journal, StateFolder
from agents.node.waiting import REPORTS_IN_MEMORY, WaitingReports
from schemas.nodes import GENESIS_HASH, ChainReply, ChainRequest, Report, message_hash

JOURNAL_BYTES_MAX = 1_000_000
SENT_AGAIN_MAX = 2_000
REPORTS: TypeAdapter[list[Report]] = TypeAdapter(list[Report])
log = logging.getLogger("hourbook.agent")


class ReportChain:
    """The chain's end and the reports that the venue has not acknowledged yet, oldest first.

    Each line of the journal is one step: `report`, `taken` (acknowledged), `nonce`, `again` (signed anew), `dropped`
    (given up); `end` sums up what came before it. A line that a crash cut off was never acted on; of a damaged journal
    what can be read is used, and the venue is asked where the chain stands.
    """

    def __init__(self, identity: Identity, state: StateFolder, kept: KeptReports | None = None) -> None:
        self._identity, self._state = identity, state
        self._kept = kept or KeptReports(state, bytes_max=0)
        self.seq, self.hash = 0, GENESIS_HASH
        self.nonce: str | None = None
        self.nonce_used = False
        self.waiting = WaitingReports(state.path)
        self._journal = Journal(state, CHAIN_FILE)
        self._behind, self._summed_bytes = False, 0
        self._replay()
        self._own_from = self.seq + 1
        self._save_all()

    @property
    def base(self) -> tuple[int, str]:
        """Number and hash of the last report before those that wait."""
        first = self.waiting[0] if self.waiting else None
        return (first.seq - 1, first.prev_hash) if first else (self.seq, self.hash)

    def append(self, **facts: object) -> Report:
        """Signs the next report and keeps it. Without a fresh nonce it repeats the last one and is marked `queued`."""
        queued = self.nonce_used or bool(self.waiting)
        report = self._identity.sign(
            Report, seq=self.seq + 1, prev_hash=self.hash, server_nonce=self.nonce, queued=queued, **facts
        )
        self._write("report", report.canonical(), lasting=True)
        self._add(report)
        return report

    def acknowledge(self, report: Report, next_nonce: str) -> None:
        """Drops a report that the venue has, and takes the nonce for the next one; a copy is kept for the venue."""
        self._kept.add(report)
        self._step("taken", {"seq": report.seq, "nonce": next_nonce})
        if self._journal.size_bytes > max(JOURNAL_BYTES_MAX, 2 * self._summed_bytes):
            self._save_all()

    def renew_nonce(self, nonce: str) -> None:
        """Takes a nonce that the next report may use."""
        self._step("nonce", {"nonce": nonce}, lasting=True)

    def drop_first(self) -> None:
        """Gives up the oldest waiting report, which the venue will never take; the chain goes on behind it."""
        self._step("dropped", {"seq": self.waiting[0].seq}, lasting=True)

    def queue_refused(self, nonce: str) -> None:
        """Signs the waiting reports anew as queued ones: the venue has said that it took none of them, as stale.

        They repeat the nonce that they had; the nonce in the refusal is for the next live report. Where they were
        queued ones before, the venue does not know that nonce any more, and they take the new one.
        """
        forgotten = nonce if self.waiting[0].queued else None
        self._sign_anew(*self.base, forgotten)
        self.renew_nonce(nonce)

    # -- where the venue says that the chain stands --------------------------------------------------------------------

    def request(self, agent: str, boot_id: str, wall_ms: int, moves: bool = False) -> ChainRequest:
        """Asks where the chain stands; with `moves` it may go on behind what this node cannot send any more."""
        base_seq, base_hash = self.base if moves else (0, GENESIS_HASH)
        if moves and (older := self._older(0)):
            base_seq, base_hash = older[0].seq - 1, older[0].prev_hash
        return self._identity.sign(
            ChainRequest, agent=agent, boot_id=boot_id, base_seq=base_seq, base_hash=base_hash, wall_ms=wall_ms
        )

    def resume(self, reply: ChainReply, moved: bool = False) -> bool:
        """Goes on from where the venue says that the chain stands; False where it must be moved first.

        What the venue has is dropped, what it lost is sent again. Where it stands elsewhere than this node can tell,
        as after a backup was put back, its word counts: reports made since the start take the next places.
        """
        place = (reply.seq, reply.hash)
        known = [report.seq for report in self.waiting if (report.seq, message_hash(report)) == place]
        if known:
            self.waiting.drop_through(reply.seq)
        elif place != self.base:
            older = self._older(reply.seq) if reply.seq < self.base[0] else []
            if older and (older[0].seq - 1, older[0].prev_hash) == place:
                log.warning("the venue lost reports from %d on: they are sent again", reply.seq + 1)
                self._wait_for(chain(older, self.waiting))
            elif reply.seq < self.base[0] and not moved:
                return False
            else:
                self._adopt(*place, reply.server_nonce)
        self.nonce = reply.server_nonce
        self.nonce_used = any(report.server_nonce == self.nonce for report in self.waiting)
        self._save_all()
        return True

    def _older(self, seq: int) -> list[Report]:
        """Returns the kept reports behind a number that lead up to those that wait."""
        older = self._kept.after(seq, SENT_AGAIN_MAX)
        base_seq, base_hash = self.base
        while older and older[-1].seq > base_seq:
            older.pop()
        return older if older and (older[-1].seq, message_hash(older[-1])) == (base_seq, base_hash) else []

    def _adopt(self, seq: int, digest: str, nonce: str) -> None:
        lost = sum(report.seq < self._own_from for report in self.waiting)
        log.warning(
            "the venue has this node's chain at report %d, not at %d: continuing from there%s",
            *(seq, self.base[0]),
            f", {lost} report(s) of earlier are given up" if lost else "",
        )
        self.seq, self.hash = seq, digest
        self.waiting.drop_through(self._own_from - 1)
        if self.waiting:
            self._sign_anew(seq, digest, nonce)
        self._own_from = seq + 1

    def _sign_anew(self, seq: int, previous: str, nonce: str | None) -> None:
        """Signs all waiting reports again behind a place, as queued ones, with their own nonce or with another."""
        again = WaitingReports(self._state.path)
        for report in self.waiting:
            fields = dict(report) | {"seq": seq + 1, "prev_hash": previous, "queued": True}
            if nonce:
                fields["server_nonce"] = nonce
            del fields["signature"]
            signed = self._identity.sign(Report, **fields)
            again.append(signed)
            seq, previous = signed.seq, message_hash(signed)
        self._wait_for(again)
        self.seq, self.hash, self.nonce_used = seq, previous, True
        if len(again) <= REPORTS_IN_MEMORY:
            self._write("again", REPORTS.dump_json(list(again)), lasting=True)
        else:  # too much for one line
            self._save_all()

    def _wait_for(self, reports: Iterable[Report]) -> None:
        """Puts other reports into the place of those that wait."""
        before = self.waiting
        self.waiting = reports if isinstance(reports, WaitingReports) else WaitingReports(self._state.path, reports)
        before.close()

    # -- memory and disk -----------------------------------------------------------------------------------------------

    def _step(self, kind: str, document: dict, lasting: bool = False) -> None:
        content = json.dumps(document).encode()
        self._write(kind, content, lasting)
        STEPS[kind](self, content)

    def _write(self, kind: str, content: bytes, lasting: bool) -> None:
        """Writes a step; what the disk does not take is in memory, and on the disk as soon as it takes it."""
        if self._behind and not self._save_all():
            return
        try:
            self._journal.append(kind, content, lasting)
        except OSError as error:
            self._behind = True
            self._state.cannot_write(error)

    def _save_all(self) -> bool:
        """Writes the whole journal anew, summed up; returns whether the disk took it."""
        end = {"seq": self.seq, "hash": self.hash, "nonce": self.nonce, "nonce_used": self.nonce_used}
        reports = (("report", report.canonical()) for report in self.waiting)
        try:
            self._journal.rewrite(chain(reports, [("end", json.dumps(end).encode())]))
        except OSError as error:
            self._behind = True
            self._state.cannot_write(error)
            return False
        self._behind, self._summed_bytes = False, self._journal.size_bytes
        if self._state.flush():
            self._state.can_write()
        return True

    def _replay(self) -> None:
        damaged = 0
        for kind, content in self._journal.read():
            try:
                STEPS[kind](self, content)
            except (KeyError, TypeError, ValueError, RecursionError):
                damaged += bool(kind.strip("\0") or content.strip(b"\0"))
        is_sound = self._is_linked()
        if damaged or not is_sound:
            self._keep_damaged(damaged, is_sound)
        if not is_sound:
            self._wait_for(())
            self.seq, self.hash, self.nonce_used = 0, GENESIS_HASH, True

    def _is_linked(self) -> bool:
        """Tells whether the waiting reports follow each other up to the chain's end."""
        place = self.base
        for report in self.waiting:
            if (report.seq - 1, report.prev_hash) != place:
                return False
            place = (report.seq, message_hash(report))
        return place == (self.seq, self.hash)

    def _keep_damaged(self, lines: int, is_sound: bool) -> None:
        path = self._journal.path
        copy = path.with_name(path.name + ".damaged")
        what = "nothing is missing" if is_sound else "the venue is asked where this node's reports stand"
        log.warning("%s is damaged (%d lines), kept as %s: %s", path, lines, copy.name, what)
        try:
            shutil.copyfile(path, copy)
        except OSError as error:
            self._state.cannot_write(error)

    def _add(self, report: Report) -> None:
        self.waiting.append(report)
        self.seq, self.hash, self.nonce_used = report.seq, message_hash(report), True

    # -- what each kind of line does -----------------------------------------------------------------------------------

    def _on_report(self, content: bytes) -> None:
        self._add(Report.model_validate_json(content))

    def _on_taken(self, content: bytes) -> None:
        taken = json.loads(content)
        seq, nonce = int(taken["seq"]), str(taken["nonce"])
        self.waiting.drop_through(seq)
        self.nonce, self.nonce_used = nonce, False

    def _on_nonce(self, content: bytes) -> None:
        self.nonce, self.nonce_used = str(json.loads(content)["nonce"]), False

    def _on_again(self, content: bytes) -> None:
        reports = REPORTS.validate_json(content)
        self._wait_for(())
        for report in reports:
            self._add(report)

    def _on_dropped(self, content: bytes) -> None:
        self.waiting.drop_through(int(json.loads(content)["seq"]))

    def _on_end(self, content: bytes) -> None:
        end = json.loads(content)
        seq, digest, nonce, used = int(end["seq"]), str(end["hash"]), end["nonce"], bool(end["nonce_used"])
        self.seq, self.hash, self.nonce, self.nonce_used = seq, digest, nonce, used


STEPS: dict[str, Callable[[ReportChain, bytes], None]] = {
    "report": ReportChain._on_report,
    "taken": ReportChain._on_taken,
    "nonce": ReportChain._on_nonce,
    "again": ReportChain._on_again,
    "dropped": ReportChain._on_dropped,
    "end": ReportChain._on_end,
}
