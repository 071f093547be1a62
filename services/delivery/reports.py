"""The rules by which a report is taken: chain, nonce, windows, and no more time than the server saw pass."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from schemas.nodes import GENESIS_HASH, Report
from services.delivery.domain import DeliveryError

RECENT_NONCES = 16
# Stands for the nonce of a queued report where a lost database knew it: whatever the next queued report repeats.
LOST_NONCE = "lost"
# A healthy monotonic clock drifts by less; a bound from long ago must not convict an honest one.
DRIFT_PPM_MAX = 500


class NonceStale(DeliveryError):
    """The report's nonce is not the one given out last, or too old; the refusal brings a new one."""

    code, status, retryable = "report_nonce_stale", 409, True


class ReportGap(DeliveryError):
    """Reports before this one are missing, more than may wait in the buffer."""

    code, status, retryable = "report_gap", 409, True


class ReportForked(DeliveryError):
    """The node signed two different histories: proof enough for quarantine."""

    code, status = "report_forked", 409


class WindowsOverlap(DeliveryError):
    """The report's window starts before the last one ended, or ends before it starts."""

    code = "report_windows_overlap"


class TimeInflated(DeliveryError):
    """The node's clock claims more time than passed on the server."""

    code = "report_time_inflated"


class NamedTwice(DeliveryError):
    """A message names one GPU twice: of two readings the meter could take either."""

    code, status = "malformed_request", 400


@dataclass(frozen=True)
class ReportLimits:
    """How reports are judged. The interval follows from the product's period, what hangs on it scales with it.

    A nonce's age does not: its report comes when the reply before told the node to, maybe by another interval.
    """

    interval_ms: int
    nonce_ms_max: int = 30_000
    buffer_max: int = 64

    @property
    def gap_ms_max(self) -> int:
        """The longest gap that is estimated as delivered, and by how much a node's clock may seem to run ahead."""
        return 3 * self.interval_ms

    @property
    def silence_ms_max(self) -> int:
        """Six missed reports in delivery: the lease has failed."""
        return 6 * self.interval_ms


@dataclass(frozen=True)
class Chain:
    """Where a node's chain stands. `offset_min_ms` bounds server time minus node time from below, per boot."""

    seq: int
    hash: str
    boot_id: str
    mono_end_ms: int
    received_ms: int
    nonce: str
    nonce_issued_ms: int
    recent_nonces: tuple[str, ...]
    queued_nonce: str
    offset_min_ms: int | None


def first_chain(boot_id: str, nonce: str, now_ms: int) -> Chain:
    """Returns the chain of a node that has just enrolled."""
    return Chain(0, GENESIS_HASH, boot_id, 0, now_ms, nonce, now_ms, (nonce,), "", None)


Verdict = Literal["next", "duplicate", "early"]


def place_report(chain: Chain, report: Report, digest: str, known_digest: str | None, limits: ReportLimits) -> Verdict:
    """Says where a report stands to the chain. `known_digest` is that of a report with its number taken before.

    The chain's own head is known in any case. Raises ReportForked for another history, ReportGap for a report too far
    ahead. [D-21]
    """
    if known_digest is None and report.seq == chain.seq:
        known_digest = chain.hash
    if known_digest is not None:
        if known_digest != digest:
            raise ReportForked(f"two reports with seq {report.seq}")
        return "duplicate" if report.seq <= chain.seq else "early"
    if report.seq <= chain.seq:
        raise ReportForked(f"seq {report.seq} was never taken, the chain is at {chain.seq}")
    if report.seq > chain.seq + 1 + limits.buffer_max:
        raise ReportGap(f"seq {report.seq} after {chain.seq}", expected_seq=chain.seq + 1)
    if report.seq > chain.seq + 1:
        return "early"
    if report.prev_hash != chain.hash:
        raise ReportForked(f"seq {report.seq} follows another report than ours")
    return "next"


def check_named_once(uuids: Iterable[str]) -> None:
    """Raises NamedTwice where a GPU comes twice."""
    seen: set[str] = set()
    for uuid in uuids:
        if uuid in seen:
            raise NamedTwice(f"gpus: {uuid} is there twice")
        seen.add(uuid)


def check_nonce(chain: Chain, report: Report, now_ms: int, limits: ReportLimits) -> None:
    """A live report carries the nonce given out last, once, in time; a queued one repeats a recent one.

    Raises NonceStale. [D-22]
    """
    if report.queued:
        if chain.queued_nonce != LOST_NONCE and report.server_nonce not in {*chain.recent_nonces, chain.queued_nonce}:
            raise NonceStale("a queued report repeats the last nonce that its node was given")
    elif report.server_nonce != chain.nonce:
        raise NonceStale("not the nonce given out last")
    elif now_ms - chain.nonce_issued_ms > limits.nonce_ms_max:
        raise NonceStale(f"the nonce is {now_ms - chain.nonce_issued_ms} ms old, at most {limits.nonce_ms_max}")


def give_nonce(chain: Chain, nonce: str, now_ms: int, kept: str | None = None) -> Chain:
    """Gives out a new nonce; `kept` is one that queued reports may go on repeating, if the node ever had it."""
    known = kept is not None and kept in {*chain.recent_nonces, chain.queued_nonce}
    return replace(
        chain,
        nonce=nonce,
        nonce_issued_ms=now_ms,
        recent_nonces=(*chain.recent_nonces, nonce)[-RECENT_NONCES:],
        queued_nonce=kept if known else chain.queued_nonce,
    )


def extend_chain(chain: Chain, report: Report, digest: str, now_ms: int, limits: ReportLimits) -> Chain:
    """Appends the next report. Raises WindowsOverlap or TimeInflated; the nonce is checked and renewed elsewhere.
    [D-23]
    """
    same_boot = report.boot_id == chain.boot_id and chain.seq > 0
    if report.mono_end_ms < report.mono_start_ms or (same_boot and report.mono_start_ms < chain.mono_end_ms):
        raise WindowsOverlap(f"window {report.mono_start_ms}–{report.mono_end_ms} after {chain.mono_end_ms}")
    offset_min_ms = _offset_min(chain, report, now_ms) if same_boot else None
    if offset_min_ms is not None and now_ms - report.mono_end_ms < offset_min_ms - limits.gap_ms_max:
        ahead_ms = offset_min_ms + report.mono_end_ms - now_ms
        raise TimeInflated(f"the node's clock runs {ahead_ms} ms ahead of the server's")
    if not report.queued:
        bound_ms = chain.nonce_issued_ms - report.mono_end_ms
        offset_min_ms = bound_ms if offset_min_ms is None else max(offset_min_ms, bound_ms)
    return replace(
        chain,
        seq=report.seq,
        hash=digest,
        boot_id=report.boot_id,
        mono_end_ms=report.mono_end_ms,
        received_ms=now_ms,
        queued_nonce=report.server_nonce if report.queued else chain.queued_nonce,
        offset_min_ms=offset_min_ms,
    )


def _offset_min(chain: Chain, report: Report, now_ms: int) -> int | None:
    if chain.offset_min_ms is None:
        return None
    return chain.offset_min_ms - (now_ms - chain.received_ms) * DRIFT_PPM_MAX // 1_000_000
