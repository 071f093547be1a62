"""Plugs the gateway together: settings, PostgreSQL, Kafka, keys, the reader of events, HTTP."""

import asyncio
from functools import partial

from schemas.accounts import AnyKeyEvent, SignedRequest
from services.gateway.api import build_hot_path
from services.gateway.commands.first_answers import restore_answers
from services.gateway.context import GatewayContext, make_context
from services.gateway.handlers import EVENTS_PER_BATCH, batch_handler
from services.gateway.keys.copies import mend_keys
from services.gateway.keys.registry import KeyRegistry
from services.gateway.node_marks import NodeMarks
from services.gateway.recorder import Recorder
from services.gateway.routes.accounts import bootstrap_admin
from services.gateway.settings import GatewaySettings
from services.gateway.store import Store
from services.kit.events import EventReader, follow
from services.kit.idempotency import forget_old
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
    """Run the gateway with the settings of the environment."""
    settings = GatewaySettings()
    configure_logs("gateway", settings.log_level)
    run_service(partial(run, settings))


async def run(settings: GatewaySettings, tasks: asyncio.TaskGroup) -> None:
    """Serve at once, and be ready when PostgreSQL, Kafka, the keys and the whole event log are there."""
    conditions = ("PostgreSQL", "Kafka", "API keys", "nodes", "first answers", "the end of the event log")
    readiness = Readiness(*conditions, servers=Servers(settings))
    gateway = make_context(settings, readiness)
    tasks.create_task(serve(build_hot_path(gateway), settings, settings.gateway_port))
    pool = await open_pool(settings, "gateway", "services.gateway")
    tasks.create_task(close_at_the_end(pool))
    gateway.store = Store(pool, settings.shard)
    readiness.done("PostgreSQL")
    gateway.publisher = PromptPublisher(settings, pool, "gateway")
    tasks.create_task(gateway.publisher.run())
    log_reached, keys_read, nodes_restored = asyncio.Event(), asyncio.Event(), asyncio.Event()
    tasks.create_task(gateway.log.run(log_reached))
    tasks.create_task(_note(log_reached, readiness, "Kafka"))
    tasks.create_task(gateway.past_commands.close_at_the_end())
    read: list[AnyKeyEvent] = []
    tasks.create_task(follow_keys(settings, gateway.directory, keys_read, read))
    tasks.create_task(NodeMarks(settings, gateway.store, gateway.history.node_marks).run(pool, nodes_restored))
    tasks.create_task(_note(nodes_restored, readiness, "nodes"))
    tasks.create_task(_know_answers(gateway))
    tasks.create_task(forget_old(settings, pool))
    tasks.create_task(_know_keys(gateway, keys_read, read))
    await _follow(gateway, tasks)


async def _follow(gateway: GatewayContext, tasks: asyncio.TaskGroup) -> None:
    settings = gateway.settings
    restored = await gateway.store.restore()
    await gateway.store.restore_names(gateway.history.used_names)
    position = restored.position
    views = (restored.records, restored.products, restored.programmes)
    gateway.history.restore(*views, position.seq, restored.newest_order_id)
    gateway.recorder = Recorder(settings, gateway.history, gateway.store, position)
    reader = EventReader(settings, await find_place(settings, position), position.seq, EVENTS_PER_BATCH, linger_s=0)
    tasks.create_task(_give_up_at_the_end(gateway))
    tasks.create_task(gateway.recorder.run())
    handle = batch_handler(gateway.history, gateway.pending, gateway.feeds, gateway.recorder)
    tasks.create_task(follow(reader, handle, partial(gateway.readiness.done, "the end of the event log")))


async def _know_keys(gateway: GatewayContext, keys_read: asyncio.Event, read: list[AnyKeyEvent]) -> None:
    """Mend the topic of keys or its copy, and register the venue's first operator, if root's signature for his key
    lies in the venue's key folder.
    """
    await keys_read.wait()
    registry = KeyRegistry(gateway)
    await mend_keys(gateway, registry, read)
    read.clear()
    signed = gateway.settings.keys_dir / PUBLIC / ADMIN_REQUEST_FILE
    if signed.exists():
        request = SignedRequest.model_validate_json(signed.read_bytes())
        await bootstrap_admin(registry, gateway.directory, request)
    gateway.readiness.done("API keys")


async def _know_answers(gateway: GatewayContext) -> None:
    await restore_answers(gateway.settings, gateway.store)
    gateway.readiness.done("first answers")


async def _give_up_at_the_end(gateway: GatewayContext) -> None:
    """Let those who wait for a decision when the gateway stops hear that it is not known, while they can."""
    try:
        await asyncio.Event().wait()
    finally:
        gateway.pending.give_up()


async def _note(done: asyncio.Event, readiness: Readiness, condition: str) -> None:
    await done.wait()
    readiness.done(condition)
