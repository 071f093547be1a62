"""Market data: a view of the event log for everyone to read, and the index that settlement reads."""
