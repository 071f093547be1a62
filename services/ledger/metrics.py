"""Metrics of the ledger."""

from prometheus_client import Counter, Gauge

EVENTS = Counter("hourbook_ledger_events", "Events taken")
TRANSFERS = Counter("hourbook_ledger_transfers", "Transfers posted")
SEQ = Gauge("hourbook_ledger_seq", "Sequence of the last event posted")
