"""Starts the service: `python -m services.listings`."""

from services.listings.app import main

main()
