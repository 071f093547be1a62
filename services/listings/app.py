"""Plugs the service together: settings → pool → relays → event reader → HTTP; nothing else knows an address."""

import asyncio
from functools import partial

import structlog

from schemas.delivery import DELIVERY_EVENT, DeliveryEvent
from schemas.topics import DELIVERY_EVENTS
from services.kit.auth import Authenticator, KeyDirectory, refuse_undeclared_routes
from services.kit.events import EventBatch
from services.kit.groups import take_again
from services.kit.http import make_app
from services.kit.idempotency import forget_old
from services.kit.key_feed import follow_keys
from services.kit.log_clock import LogClock
from services.kit.logs import configure_logs
from services.kit.outbox import Outbox, Publisher, Relay
from services.kit.places import follow_from
from services.kit.process import run_service
from services.kit.readiness import Readiness
from services.kit.servers import Servers
from services.kit.serving import serve
from services.kit.store import AWAY, Pool, Position, close_at_the_end
from services.kit.topics import make_broker, run_broker, subscribe_batches
from services.listings import handlers, store
from services.listings.api import add_error_handlers, add_routes
from services.listings.moves import Moves
from services.listings.rebuilding import rebuild
from services.listings.sales import Sales
from services.listings.settings import Settings

NAME = "listings"


def main() -> None:
    """Runs the service until it is told to stop."""
    settings = Settings()
    configure_logs(NAME, settings.log_level)
    run_service(lambda tasks: start(tasks, settings))


async def start(tasks: asyncio.TaskGroup, settings: Settings) -> None:
    """Starts every part as a task of the group; returns when everybody can be told apart."""
    readiness = Readiness("PostgreSQL", "the event log", "the log's time", "the API keys", servers=Servers(settings))
    app = make_app(NAME, readiness, settings.body_limits)
    add_error_handlers(app)
    directory, keys_known = KeyDirectory(), asyncio.Event()
    authenticator = Authenticator(
        directory,
        settings.signature_window_ms,
        ahead_ms=settings.signature_ahead_ms,
        requests_per_s=settings.key_requests_per_s,
    )
    tasks.create_task(serve(app, settings, settings.listings_port))
    pool = await store.open_pool(settings)
    tasks.create_task(close_at_the_end(pool))
    readiness.done("PostgreSQL")
    await rebuild(settings, pool)
    outbox = Outbox(settings, pool, NAME, numbered="request")
    await outbox.recover()
    relays = (outbox, Publisher(settings, pool, NAME))
    clock = LogClock(settings, settings.listings_clock_interval_s)
    moves = Moves(settings.periods, settings.listings_outage_ms)
    add_routes(app, settings, pool, Sales(settings, pool, relays, clock), authenticator)
    refuse_undeclared_routes(app)
    for relay in relays:
        tasks.create_task(relay.run())
    tasks.create_task(follow_keys(settings, directory, keys_known))
    tasks.create_task(clock.run())
    tasks.create_task(forget_old(settings, pool))
    tasks.create_task(_follow_events(settings, pool, relays, moves, clock, readiness))
    tasks.create_task(_watch_deadlines(settings, pool, relays, moves, clock, readiness))
    tasks.create_task(_follow_delivery(settings, pool, moves, relays))
    await keys_known.wait()
    readiness.done("the API keys")


async def _follow_delivery(settings: Settings, pool: Pool, moves: Moves, relays: tuple[Relay, ...]) -> None:
    async def take(events: list[DeliveryEvent], ends: dict[int, int]) -> None:
        try:
            await handlers.handle_deliveries(pool, moves, events, ends)
            _wake(relays)
        except AWAY as error:
            structlog.get_logger().warning("delivery's events wait for PostgreSQL", error=str(error))
            await asyncio.sleep(settings.reconnect_delay_s)
            raise  # the batch comes again

    await take_again(settings, pool, DELIVERY_EVENTS, NAME, DELIVERY_EVENT, take)
    broker = make_broker(settings)
    subscribe_batches(broker, DELIVERY_EVENTS, NAME, DELIVERY_EVENT, take, with_ends=True)
    await run_broker(broker)


async def _follow_events(
    settings: Settings,
    pool: Pool,
    relays: tuple[Relay, ...],
    moves: Moves,
    clock: LogClock,
    readiness: Readiness,
) -> None:
    async def handle(position: Position, batch: EventBatch) -> None:
        await handlers.handle_batch(pool, moves, settings.shard, position, batch, clock.now_ms)
        clock.note(batch.last_ts_ms)
        _wake(relays)

    await clock.known.wait()  # how long the service was away is to be known before any deadline passes
    read_cursor = partial(store.read_position, pool, settings.shard)
    caught_up = partial(readiness.done, "the event log")
    await follow_from(settings, read_cursor, handle, caught_up, kinds=handlers.HANDLERS)


async def _watch_deadlines(
    settings: Settings,
    pool: Pool,
    relays: tuple[Relay, ...],
    moves: Moves,
    clock: LogClock,
    readiness: Readiness,
) -> None:
    """Lets deadlines pass while nothing else happens, once the events that come before them are taken."""
    await clock.known.wait()
    readiness.done("the log's time")
    while True:
        await asyncio.sleep(settings.listings_clock_interval_s)
        if "the event log" in readiness.waiting:
            continue
        try:
            if await handlers.pass_time(pool, moves, clock.now_ms):
                _wake(relays)
        except AWAY as error:
            structlog.get_logger().warning("deadlines wait for PostgreSQL", error=str(error))
            await asyncio.sleep(settings.reconnect_delay_s)


def _wake(relays: tuple[Relay, ...]) -> None:
    for relay in relays:
        relay.wake()
