"""Starts the service: `python -m services.terminal`."""

from services.terminal.app import main

main()
