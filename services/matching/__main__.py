"""Starts the matching service: `python -m services.matching`."""

from services.matching.app import run

run()
