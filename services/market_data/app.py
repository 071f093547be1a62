"""Plugs the service together: settings → pool → event log and relayed topics → view → HTTP and feed."""

import asyncio
from functools import partial

from schemas.delivery import DELIVERY_EVENT
from schemas.topics import DELIVERY_EVENTS, LISTINGS_EVENTS
from services.kit.auth import refuse_undeclared_routes
from services.kit.events import EventBatch, EventReader, follow
from services.kit.groups import take_again
from services.kit.http import make_app
from services.kit.limits import Budget
from services.kit.logs import configure_logs
from services.kit.outbox import Outbox
from services.kit.places import find_place
from services.kit.process import run_service
from services.kit.readiness import Readiness
from services.kit.servers import Servers
from services.kit.serving import serve
from services.kit.store import Pool
from services.kit.topics import make_broker, run_broker
from services.market_data import metrics, store
from services.market_data.api import Views, add_routes
from services.market_data.domain import Market
from services.market_data.feed import Feed, Ring
from services.market_data.handlers import LISTING, EventHandler, RelayHandler, subscribe
from services.market_data.history import Stored
from services.market_data.readers import Reader
from services.market_data.recorder import Recorder
from services.market_data.relays import Relays
from services.market_data.settings import Settings
from services.market_data.snapshots import Snapshots
from services.market_data.sockets import add_feed, beat

NAME = "market_data"


def main() -> None:
    """Run the service until it is told to stop."""
    settings = Settings()
    configure_logs(NAME, settings.log_level)

    async def start(tasks: asyncio.TaskGroup) -> None:
        await MarketData(settings).start(tasks)

    run_service(start)


class MarketData:
    """The parts of the service, made once."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.readiness = Readiness("PostgreSQL", "the event log", "listings and delivery", servers=Servers(settings))
        self.market, self.relays = Market(), Relays()
        self.feed = Feed(Ring(settings.market_data_ring_span_ms, settings.market_data_ring_messages_max))
        self.snapshots = Snapshots(self.market, self.relays)
        self.readers: set[Reader] = set()
        self.pace = Budget("streams", settings.market_data_streams_per_s, settings.market_data_streams_burst_s)
        self.stored = Stored()

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Start everything; what fails later ends the task group."""
        settings = self.settings
        app = make_app(NAME, self.readiness, settings.body_limits)
        tasks.create_task(serve(app, settings, settings.market_data_port))
        pool = await store.open_pool(settings)
        self.readiness.done("PostgreSQL")
        add_routes(app, Views(settings, pool, self.market, self.stored))
        add_feed(app, self.readiness, self.new_reader, self.readers, self.pace)
        refuse_undeclared_routes(app)
        tasks.create_task(beat(self.market, self.readers))
        tasks.create_task(self._follow_events(tasks, pool))
        tasks.create_task(self._follow_topics(pool))

    def new_reader(self) -> Reader:
        limits = self.settings
        return Reader(
            self.feed,
            self.snapshots,
            limits.market_data_reader_messages_max,
            limits.market_data_reader_streams_max,
        )

    async def _follow_events(self, tasks: asyncio.TaskGroup, pool: Pool) -> None:
        outbox = Outbox(self.settings, pool, NAME)
        await outbox.recover()
        position = await store.read_position(pool, self.settings.shard)
        await find_place(self.settings, position)  # a log that is not this database's is not to be shown
        recorder = Recorder(self.settings, pool, position, self.stored, outbox.wake)
        handler = EventHandler(self.settings, self.market, self.feed, position, recorder)
        tasks.create_task(outbox.run())
        tasks.create_task(recorder.run())
        start = handler.restore()
        self.stored.move(start.seq)
        reader = EventReader(self.settings, start.next_offset, start.seq, linger_s=self.settings.market_data_linger_s)

        async def handle(batch: EventBatch) -> None:
            await handler.handle(batch)
            metrics.EVENTS.inc(len(batch.events))
            metrics.SEQ.set(batch.last_seq)
            metrics.DOUBTED_BOOKS.set(len(self.market.doubted))
            # A long replay must leave the other tasks their turn.
            await asyncio.sleep(0)

        await follow(reader, handle, partial(self.readiness.done, "the event log"))

    async def _follow_topics(self, pool: Pool) -> None:
        handler = RelayHandler(pool, self.relays, self.market, self.feed)
        await handler.restore()
        broker, group = make_broker(self.settings), f"{NAME}.{await store.generation(pool)}"
        await take_again(self.settings, pool, LISTINGS_EVENTS, group, LISTING, handler.on_listings)
        await take_again(self.settings, pool, DELIVERY_EVENTS, group, DELIVERY_EVENT, handler.on_deliveries)
        subscribe(broker, group, handler)
        self.readiness.done("listings and delivery")
        await run_broker(broker)
