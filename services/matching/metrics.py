"""Metrics of the matching process."""

from prometheus_client import Counter, Gauge, Histogram

COMMANDS = Counter("hourbook_matching_commands", "Records of the command log applied")
EVENTS = Counter("hourbook_matching_events", "Events computed")
NEXT_OFFSET = Gauge("hourbook_matching_next_offset", "Offset of the next record of the command log")
SEQ = Gauge("hourbook_matching_seq", "Sequence of the last event computed")
ACKNOWLEDGED_SEQ = Gauge("hourbook_matching_acknowledged_seq", "Sequence of the last event known to be in the log")
EPOCH = Gauge("hourbook_matching_epoch", "The epoch of this process")
APPLY_SECONDS = Histogram(
    "hourbook_matching_apply_seconds",
    "Time to apply one fetch of records",
    buckets=(0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1),
)
FORK_SECONDS = Gauge("hourbook_matching_fork_seconds", "How long the last snapshot's fork held up the engine")
SNAPSHOT_OFFSET = Gauge("hourbook_matching_snapshot_offset", "Where the newest snapshot goes on")
