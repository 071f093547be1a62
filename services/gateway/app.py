"""Plugs the gateway together: settings, PostgreSQL, Kafka, keys, the reader of events, HTTP."""

import asyncio
from functools import partial

from schemas.accounts import AnyKeyEvent, SignedRequest
from services.gateway.api import build_front
from services.gateway.commands.first_answers import restore_answers
from services.gateway.context import Desk, make_desk
from services.gateway.handlers import EVENTS_PER_BATCH, follow_events
from services.gateway.keys.copies import mend_keys
from services.gateway.keys.registry import KeyRegistry
from services.gateway.node_marks import NodeMarks
from services.gateway.recorder import Recorder
from services.gateway.routes.accounts import bootstrap_admin
from services.gateway.settings import GatewaySettings
from services.gateway.store import Store
from services.kit.events import EventReader
from services.kit.key_feed import follow_keys
from services.kit.keys import PUBLIC
from services.kit.logs import configure_logs
from services.kit.outbox import PromptPublisher
from services.kit.places import find_place
from services.kit.process import run_service
from services.kit.readiness import Readiness
from services.kit.servers import Servers
from services.kit.serving import serve
from services.kit.store import close_at_the_end, open_pool

ADMIN_REQUEST_FILE = "admin-api.request.json"


def start() -> None:
    """Runs the gateway with the settings of the environment."""
    settings = GatewaySettings()
    configure_logs("gateway", settings.log_level)
    run_service(partial(run, settings))


async def run(settings: GatewaySettings, tasks: asyncio.TaskGroup) -> None:
    """Serves at once, and is ready when PostgreSQL, Kafka, the keys and the whole event log are there."""
    conditions = ("PostgreSQL", "Kafka", "API keys", "nodes", "first answers", "the end of the event log")
    readiness = Readiness(*conditions, servers=Servers(settings))
    desk = make_desk(settings, readiness)
    tasks.create_task(serve(build_front(desk), settings, settings.gateway_port))
    pool = await open_pool(settings, "gateway", "services.gateway")
    tasks.create_task(close_at_the_end(pool))
    desk.store = Store(pool, settings.shard)
    readiness.done("PostgreSQL")
    desk.publisher = PromptPublisher(settings, pool, "gateway")
    tasks.create_task(desk.publisher.run())
    log_reached, keys_read, nodes_restored = asyncio.Event(), asyncio.Event(), asyncio.Event()
    tasks.create_task(desk.log.run(log_reached))
    tasks.create_task(_note(log_reached, readiness, "Kafka"))
    tasks.create_task(desk.past_commands.close_at_the_end())
    read: list[AnyKeyEvent] = []
    tasks.create_task(follow_keys(settings, desk.directory, keys_read, read))
    tasks.create_task(NodeMarks(settings, desk.store, desk.history.node_marks).run(pool, nodes_restored))
    tasks.create_task(_note(nodes_restored, readiness, "nodes"))
    tasks.create_task(_know_answers(settings, desk))
    tasks.create_task(_know_keys(settings, desk, keys_read, read))
    await _follow(settings, desk, tasks)


async def _follow(settings: GatewaySettings, desk: Desk, tasks: asyncio.TaskGroup) -> None:
    restored = await desk.store.restore()
    await desk.store.restore_names(desk.history.used_names)
    position = restored.position
    views = (restored.records, restored.products, restored.programmes)
    desk.history.restore(*views, position.seq, restored.newest_order_id)
    desk.recorder = Recorder(settings, desk.history, desk.store, position)
    reader = EventReader(settings, await find_place(settings, position), position.seq, EVENTS_PER_BATCH, linger_s=0)
    tasks.create_task(_give_up_at_the_end(desk))
    tasks.create_task(desk.recorder.run())
    tasks.create_task(follow_events(reader, desk.history, desk.decisions, desk.feeds, desk.recorder))
    tasks.create_task(_note(reader.caught_up, desk.readiness, "the end of the event log"))


async def _know_keys(settings: GatewaySettings, desk: Desk, keys_read: asyncio.Event, read: list[AnyKeyEvent]) -> None:
    """Mends the topic of keys or its copy, and registers the venue's first operator, if root's signature for his key
    lies in the venue's key folder.
    """
    await keys_read.wait()
    registry = KeyRegistry(desk)
    await mend_keys(desk, registry, read)
    read.clear()
    signed = settings.keys_dir / PUBLIC / ADMIN_REQUEST_FILE
    if signed.exists():
        request = SignedRequest.model_validate_json(signed.read_bytes())
        await bootstrap_admin(registry, desk.directory, request)
    desk.readiness.done("API keys")


async def _know_answers(settings: GatewaySettings, desk: Desk) -> None:
    await restore_answers(settings, desk.store)
    desk.readiness.done("first answers")


async def _give_up_at_the_end(desk: Desk) -> None:
    """Lets those who wait for a decision when the gateway stops be told that it is not known, while they can be."""
    try:
        await asyncio.Event().wait()
    finally:
        desk.decisions.give_up()


async def _note(done: asyncio.Event, readiness: Readiness, condition: str) -> None:
    await done.wait()
    readiness.done(condition)
