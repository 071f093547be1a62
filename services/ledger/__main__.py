"""Starts the ledger: `python -m services.ledger`; `--rebuild` first drops the postings, to read all events again."""

import sys

from services.ledger.app import run

run(rebuild="--rebuild" in sys.argv[1:])
