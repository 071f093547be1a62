"""Prometheus metrics of market_data."""

from prometheus_client import Counter, Gauge

EVENTS = Counter("hourbook_market_data_events_total", "Events applied")
SEQ = Gauge("hourbook_market_data_seq", "Sequence of the last event applied")
READERS = Gauge("hourbook_market_data_readers", "Sockets that follow the feed")
SLOW_READERS = Counter("hourbook_market_data_slow_readers_total", "Sockets closed because they took too little")
DOUBTED_BOOKS = Gauge("hourbook_market_data_doubted_books", "Open contracts whose book did not fit an event")
