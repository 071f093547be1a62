"""The gateway with the matching service on a real broker and PostgreSQL."""
