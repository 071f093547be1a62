"""Decisions of the matching process: what the logs must look like, and whose turn it is; no I/O."""

import re
from collections.abc import Iterable, Sequence

from services.kit.operators import NeedsOperator

HEADER = re.compile(rb'^\{"type":"([a-z_]+)","shard":\d+,"seq":(\d+),"in_offset":(\d+),')
REJECT_CODE = re.compile(rb'"code":"([a-z_]+)"')


class MatchingError(Exception):
    """The base of this service's errors; each ends the process."""


class LogLost(MatchingError, NeedsOperator):
    """The command log ends before what a snapshot has of it."""


class LogsDiffer(MatchingError, NeedsOperator):
    """The engine computes other events from the command log than the event log holds."""


class BrokenEventLog(MatchingError, NeedsOperator):
    """The event log has a hole, or a record that is no event."""


class Superseded(MatchingError):
    """A newer engine process has taken over."""


class EpochRefused(MatchingError):
    """The engine did not take this process's epoch."""


def header_of(event: bytes) -> tuple[str, int, int]:
    """Return type, seq and in_offset of an event. Raises BrokenEventLog for other bytes."""
    found = HEADER.match(event)
    if not found:
        raise BrokenEventLog(f"no event: {event[:80]!r}")
    return found[1].decode(), int(found[2]), int(found[3])


def in_sequence(records: Iterable[bytes], last_seq: int) -> tuple[list[bytes], int]:
    """Return the events after `last_seq`, and the new last one; repeated ones (of a second engine) are dropped.

    Raises BrokenEventLog where a sequence number is missing.
    """
    fresh = []
    for record in records:
        _, seq, _ = header_of(record)
        if seq > last_seq + 1:
            raise BrokenEventLog(f"seq {seq} follows {last_seq}")
        if seq == last_seq + 1:
            fresh.append(record)
            last_seq = seq
    return fresh, last_seq


def check_same(computed: Sequence[bytes], logged: Sequence[bytes]) -> None:
    """Raise LogsDiffer at the first event that the engine computes otherwise than the log has it."""
    if computed == logged:
        return
    for ours, theirs in zip(computed, logged, strict=False):
        if ours != theirs:
            raise LogsDiffer(f"seq {header_of(theirs)[1]}: the log has {theirs!r}, the engine computes {ours!r}")
    raise LogsDiffer(f"the log has {len(logged)} events where the engine computes {len(computed)}")


def epoch_granted(events: Iterable[bytes], offset: int, epoch: int) -> bool | None:
    """Say what became of the epoch record at `offset`: granted, lost to another process (False), not among these
    events (None).

    Raises EpochRefused where no other process explains the refusal.
    """
    for event in events:
        kind, _, in_offset = header_of(event)
        if in_offset != offset:
            continue
        if kind == "epoch_started":
            return True
        if kind in ("record_rejected", "command_rejected"):
            code = REJECT_CODE.search(event)[1].decode()
            if code in ("duplicate", "stale_epoch"):
                return False
            raise EpochRefused(f"epoch {epoch} at offset {offset}: {code}")
    return None
