"""Starts the beacon: `python -m services.beacon`."""

from services.beacon.app import main

main()
