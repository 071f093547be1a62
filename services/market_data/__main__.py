"""Starts the service: `python -m services.market_data`."""

from services.market_data.app import main

main()
