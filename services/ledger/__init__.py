"""The venue's books: every posting of the event log as double entry in PostgreSQL, checked against the engine."""
