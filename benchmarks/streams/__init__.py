"""Deterministic command streams with their expected results."""
