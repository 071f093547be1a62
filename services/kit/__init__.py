"""Plumbing that every service shares: settings, logs, keys, PostgreSQL, Kafka, HTTP, signatures, start and stop."""
