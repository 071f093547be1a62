"""Bytes that nobody should send, and snapshots that nobody wrote."""
