"""Plugs the ledger together: PostgreSQL, the event log, the outbox, HTTP."""

import asyncio
from functools import partial

import structlog
from fastapi import FastAPI

from services.kit.auth import Authenticator, KeyDirectory
from services.kit.key_feed import follow_keys
from services.kit.logs import configure_logs
from services.kit.outbox import Outbox
from services.kit.process import run_service
from services.kit.readiness import Readiness
from services.kit.servers import Servers
from services.kit.serving import serve
from services.kit.store import close_at_the_end
from services.ledger.api import make_ledger_app
from services.ledger.handlers import CAUGHT_UP, Poster
from services.ledger.requests import Requests
from services.ledger.settings import LedgerSettings
from services.ledger.store import LedgerStore
from services.ledger.views import Views

POSTGRESQL, KEYS = "PostgreSQL", "the API keys"


class LedgerService:
    """One run of the ledger: it serves at once, and is ready when PostgreSQL, keys and all events are there."""

    def __init__(self, settings: LedgerSettings):
        self._settings = settings
        self._readiness = Readiness(POSTGRESQL, KEYS, CAUGHT_UP, servers=Servers(settings))
        self._store = LedgerStore(settings)
        self._outbox: Outbox | None = None
        self._keys = KeyDirectory()
        self._poster = Poster(settings, self._store, self._readiness, self.wake_outbox)

    async def run(self, tasks: asyncio.TaskGroup, rebuild: bool = False) -> None:
        """Starts everything in the task group; `rebuild` first drops what the events can bring back."""
        settings, keys_read = self._settings, asyncio.Event()
        tasks.create_task(serve(self.application(), settings, settings.ledger_port))
        tasks.create_task(follow_keys(settings, self._keys, keys_read))
        pool = await self._store.open()
        tasks.create_task(close_at_the_end(pool))
        self._readiness.done(POSTGRESQL)
        if rebuild:
            await self._store.forget_postings()
            structlog.get_logger().warning("postings dropped, reading all events again")
        outbox = Outbox(settings, pool, "ledger", numbered="request")
        await outbox.recover()
        self._outbox = outbox
        tasks.create_task(outbox.run())
        tasks.create_task(self._poster.run())
        tasks.create_task(self._poster.release_at_the_end())
        await keys_read.wait()
        self._readiness.done(KEYS)

    def application(self) -> FastAPI:
        """Returns the HTTP side."""
        return make_ledger_app(
            self._readiness,
            Authenticator(
                self._keys,
                self._settings.signature_window_ms,
                ahead_ms=self._settings.signature_ahead_ms,
                requests_per_s=self._settings.key_requests_per_s,
            ),
            Requests(self._settings, self._store, self._poster, self.wake_outbox, self._keys.has_account),
            Views(self._settings, self._store, self._poster),
            self._settings.body_limits,
        )

    def wake_outbox(self) -> None:
        """Says that the outbox has something to send."""
        if self._outbox is not None:
            self._outbox.wake()


def run(rebuild: bool = False) -> None:
    """Runs the service in this process."""
    settings = LedgerSettings()
    configure_logs("ledger", settings.log_level)
    run_service(partial(LedgerService(settings).run, rebuild=rebuild))
