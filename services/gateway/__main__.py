"""Entry for `python -m services.gateway`."""

from services.gateway.app import start

start()
