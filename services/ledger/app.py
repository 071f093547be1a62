"""Plugs the ledger together: PostgreSQL, the event log, the outbox, HTTP."""

import asyncio

import structlog

from services.kit.auth import Authenticator, KeyDirectory
from services.kit.http import serve
from services.kit.key_feed import follow_keys
from services.kit.logs import configure_logs
from services.kit.outbox import Outbox
from services.kit.process import run_service
from services.kit.readiness import Readiness
from services.ledger.api import make_ledger_app
from services.ledger.handlers import CAUGHT_UP, Poster
from services.ledger.requests import Requests
from services.ledger.settings import LedgerSettings
from services.ledger.store import LedgerStore
from services.ledger.views import Views

KEYS = "the API keys"


async def run_ledger(tasks: asyncio.TaskGroup, settings: LedgerSettings, rebuild: bool = False) -> None:
    """Starts everything in the task group."""
    readiness = Readiness("postgresql", KEYS, CAUGHT_UP)
    store = await LedgerStore.open(settings)
    readiness.done("postgresql")
    if rebuild:
        await store.forget_postings()
        structlog.get_logger().warning("postings dropped, reading all events again")
    outbox = Outbox(settings, store.pool, "ledger")
    poster = Poster(settings, store, readiness, outbox.wake)
    keys, keys_read = KeyDirectory(), asyncio.Event()
    app = make_ledger_app(
        readiness,
        Authenticator(keys, settings.signature_window_ms),
        Requests(settings, store, poster, outbox),
        Views(settings, store, poster),
        settings.body_bytes_max,
    )
    tasks.create_task(serve(app, settings.host, settings.ledger_port))
    tasks.create_task(follow_keys(settings, keys, keys_read))
    tasks.create_task(outbox.run())
    tasks.create_task(poster.run())
    await keys_read.wait()
    readiness.done(KEYS)


def run(rebuild: bool = False) -> None:
    """Runs the service in this process."""
    settings = LedgerSettings()
    configure_logs("ledger", settings.log_level)
    run_service(lambda tasks: run_ledger(tasks, settings, rebuild))
