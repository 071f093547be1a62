"""The node's chain of reports: numbered, linked, signed, on disk before they are sent, kept until acknowledged."""

from pathlib import Path

from agents.node.identity import Identity
from agents.node.state import StateFolder
from schemas.nodes import GENESIS_HASH, Report, message_hash

QUEUE = "reports"
FILE_DIGITS = 12


class ReportChain:
    """The chain's end and the reports that the venue has not acknowledged yet, oldest first."""

    def __init__(self, identity: Identity, state: StateFolder) -> None:
        self._identity, self._state = identity, state
        self._folder = state.path / QUEUE
        self._folder.mkdir(exist_ok=True)
        self.waiting = [Report.model_validate_json(file.read_bytes()) for file in sorted(self._folder.glob("*.json"))]
        end = state.read("chain") or {"seq": 0, "hash": GENESIS_HASH, "nonce": None}
        self.seq: int = end["seq"]
        self.hash: str = end["hash"]
        self.nonce: str | None = end["nonce"]
        self.nonce_used = bool(self.waiting)
        if self.waiting and self.waiting[-1].seq > self.seq:
            self._move_end(self.waiting[-1])
        self._mend()

    def append(self, **facts: object) -> Report:
        """Signs the next report and keeps it. Without a fresh nonce it repeats the last one and is marked `queued`."""
        report = self._identity.sign(
            Report,
            seq=self.seq + 1,
            prev_hash=self.hash,
            server_nonce=self.nonce,
            queued=self.nonce_used,
            **facts,
        )
        self._keep(report)
        self.waiting.append(report)
        self.nonce_used = True
        self._move_end(report)
        return report

    def acknowledge(self, report: Report, next_nonce: str) -> None:
        """Drops a report that the venue has, and takes the nonce for the next one."""
        self.waiting.remove(report)
        self.renew_nonce(next_nonce)
        self._file(report).unlink(missing_ok=True)

    def renew_nonce(self, nonce: str) -> None:
        """Takes a nonce that the next report may use."""
        self.nonce, self.nonce_used = nonce, False
        self._save_end()

    def queue_refused(self, nonce: str) -> None:
        """Signs the waiting reports anew as queued ones: the venue has said that it took none of them, as stale.

        They repeat the nonce that they had; the nonce in the refusal is for the next live report.
        """
        self._sign_anew(0)
        self.renew_nonce(nonce)

    def _mend(self) -> None:
        """Finishes what a crash cut off in `queue_refused`."""
        for index in range(1, len(self.waiting)):
            if self.waiting[index].prev_hash != message_hash(self.waiting[index - 1]):
                self._sign_anew(index)
                return

    def _sign_anew(self, first: int) -> None:
        previous = message_hash(self.waiting[first - 1]) if first else self.waiting[0].prev_hash
        for index in range(first, len(self.waiting)):
            fields = dict(self.waiting[index]) | {"prev_hash": previous, "queued": True}
            del fields["signature"]
            self.waiting[index] = self._identity.sign(Report, **fields)
            self._keep(self.waiting[index])
            previous = message_hash(self.waiting[index])
        self._move_end(self.waiting[-1])

    def _keep(self, report: Report) -> None:
        self._state.write_bytes(str(self._file(report).relative_to(self._state.path)), report.canonical())

    def _move_end(self, report: Report) -> None:
        self.seq, self.hash = report.seq, message_hash(report)
        self._save_end()

    def _save_end(self) -> None:
        self._state.write("chain", {"seq": self.seq, "hash": self.hash, "nonce": self.nonce})

    def _file(self, report: Report) -> Path:
        return self._folder / f"{report.seq:0{FILE_DIGITS}d}.json"
