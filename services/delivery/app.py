"""Plugs the service together: settings → pool → relays → readers → scheduler → HTTP; nothing else knows an address."""

import asyncio
from functools import partial

import structlog
from faststream.kafka import KafkaBroker

from schemas.gpu_models import GRADES
from schemas.nodes import METER_RECORD, MeterRecord
from schemas.topics import METER_REPORTS
from services.delivery import contracts, handlers, store
from services.delivery.access_api import add_access_routes, add_key_routes
from services.delivery.api import add_admin_routes, add_party_routes, add_public_routes, add_retirement_route
from services.delivery.bands import BadBandFile
from services.delivery.credentials import CredentialBox
from services.delivery.declarations import add_node_declaration_routes, add_operator_routes
from services.delivery.digests import read_digest_book
from services.delivery.dispute_api import add_arbiter_routes, add_dispute_routes, add_node_dispute_route
from services.delivery.door import DoorWatch
from services.delivery.edge import Edge
from services.delivery.edge_api import (
    ReportEndpoint,
    add_edge_routes,
    add_error_handlers,
    add_proof_routes,
    is_opening,
)
from services.delivery.effects import Effects
from services.delivery.evidence_api import add_digest_routes
from services.delivery.histories import Histories
from services.delivery.hot_path import HotPath, is_for_reports
from services.delivery.hub_api import add_hub_routes
from services.delivery.hubs import read_beacons
from services.delivery.intake import BUSY_FROM, Intake
from services.delivery.joint_gates import JointGates
from services.delivery.level_reviews import run_reviews
from services.delivery.load import read_board_powers
from services.delivery.loop_lag import LoopLag
from services.delivery.moving import Moving
from services.delivery.node_guard import NodeGuard
from services.delivery.outages import OutageWatch
from services.delivery.positions import RecentPositions
from services.delivery.proofs import Proofs
from services.delivery.rebuilding import rebuild
from services.delivery.releases import Releases
from services.delivery.renter import add_renter_routes
from services.delivery.renter_proofs import add_renter_proof_route
from services.delivery.report_records import FreshReports, VerifiedReport
from services.delivery.reputation_api import add_reputation_routes
from services.delivery.resuming import ChainPlaces
from services.delivery.scheduler import Scheduler
from services.delivery.settings import Settings
from services.delivery.sweeps import Sweeps
from services.delivery.tables import BadTable
from services.delivery.verifying import Verifier
from services.delivery.waiting import HeldRequests
from services.kit.auth import Authenticator, KeyDirectory, refuse_undeclared_routes
from services.kit.http import make_app
from services.kit.idempotency import forget_old
from services.kit.key_feed import follow_keys
from services.kit.logs import configure_logs
from services.kit.outbox import Outbox, PromptPublisher
from services.kit.places import follow_from
from services.kit.process import run_service
from services.kit.readiness import Readiness
from services.kit.servers import Servers
from services.kit.serving import serve
from services.kit.store import AWAY, Position, read_position
from services.kit.topics import make_broker, run_broker, subscribe_batches

NAME = "delivery"


def main() -> None:
    """Runs the service until it is told to stop."""
    settings = Settings()
    configure_logs(NAME, settings.log_level)
    try:
        read_digest_book(settings.digest_book)
        read_board_powers(settings.board_powers)
        read_beacons(settings.hub_beacons)
        without = sorted(grade for grade in GRADES if not settings.bands.has(grade))
    except (BadTable, BadBandFile) as error:
        raise SystemExit(str(error)) from None
    structlog.get_logger().info("grades without a band, which nothing can prove", grades=", ".join(without))
    if settings.proof_layers_off:
        structlog.get_logger().warning("layers of proofs are off", layers=settings.proof_layers_off)
    run_service(lambda tasks: start(tasks, settings))


async def start(tasks: asyncio.TaskGroup, settings: Settings) -> None:
    """Starts every part as a task of the group; returns when agents and users are served."""
    readiness = Readiness("PostgreSQL", "the event log", "the API keys", servers=Servers(settings))
    app = make_app(NAME, readiness, settings.body_limits, (is_opening, settings.opening_limits))
    add_error_handlers(app)
    directory, keys_known, failed = KeyDirectory(), asyncio.Event(), asyncio.get_running_loop().create_future()
    authenticator = Authenticator(
        directory,
        settings.signature_window_ms,
        ahead_ms=settings.signature_ahead_ms,
        requests_per_s=settings.key_requests_per_s,
    )
    hot_path = HotPath(app, settings.body_limits, readiness)
    guard = NodeGuard(hot_path, settings)
    tasks.create_task(serve(guard, settings, settings.delivery_port, free=is_for_reports))
    pool = await store.open_pool(settings)
    guard.open(pool)
    readiness.done("PostgreSQL")
    outbox, publisher = Outbox(settings, pool, NAME), PromptPublisher(settings, pool, NAME)
    await outbox.recover()
    effects, credentials = Effects(pool, (outbox, publisher)), CredentialBox.load(settings.keys_dir)
    histories = Histories(settings)
    await histories.catch_up(effects)
    await rebuild(effects, settings, histories, f"{NAME}.{METER_REPORTS.name}")
    watch = OutageWatch(settings, effects, readiness)
    moving, fresh, releases = Moving(settings, effects, publisher), FreshReports(), Releases()
    verifier = Verifier(settings.proof_verifiers, settings.proofs_waiting_max)
    intake = Intake(settings, effects, fresh, watch, releases)
    edge = Edge(settings, pool, publisher, credentials, moving, releases, directory)
    reports = ReportEndpoint(intake)
    add_edge_routes(app, edge, reports, ChainPlaces(settings, pool, publisher), moving)
    held, lag, recent = HeldRequests(settings, pool, releases), LoopLag(), RecentPositions(pool, settings)
    effects.hand_out = held.hand_out
    add_proof_routes(app, Proofs(settings, pool, publisher, releases, verifier, held.trips, lag), held)
    add_public_routes(app, settings, pool)
    add_reputation_routes(app, settings, pool)
    add_hub_routes(app, settings, effects, publisher)
    add_party_routes(app, settings, pool, authenticator, recent)
    add_operator_routes(app, settings, effects, authenticator)
    add_node_declaration_routes(app, settings, effects)
    add_key_routes(app, settings, pool, authenticator)
    add_access_routes(app, pool, authenticator, credentials, recent)
    add_retirement_route(app, settings, effects, moving, authenticator)
    add_admin_routes(app, settings, effects, authenticator)
    add_digest_routes(app, effects, settings, authenticator)
    add_dispute_routes(app, settings, effects, authenticator, recent)
    add_arbiter_routes(app, settings, effects, authenticator)
    add_node_dispute_route(app, settings, effects)
    add_renter_routes(app, settings, effects, authenticator)
    sweeps = Sweeps(settings, effects, held, releases, watch, readiness)
    add_renter_proof_route(app, settings, effects, releases, sweeps)
    refuse_undeclared_routes(app)
    hot_path.open(reports)
    for relay in (outbox, publisher):
        tasks.create_task(relay.run())
    tasks.create_task(intake.run())
    tasks.create_task(follow_keys(settings, directory, keys_known))
    tasks.create_task(_follow_events(settings, effects, readiness))
    tasks.create_task(run_broker(_reports(settings, effects, histories, fresh, failed)))
    tasks.create_task(watch.run())
    tasks.create_task(histories.run(effects))
    tasks.create_task(forget_old(settings, pool))
    tasks.create_task(DoorWatch(settings, pool).run())
    tasks.create_task(run_reviews(settings, effects))
    tasks.create_task(Scheduler(settings, effects, watch, readiness, verifier).run())
    for work in (sweeps, JointGates(settings, effects, held, releases, watch), verifier, lag):
        tasks.create_task(work.run())
    tasks.create_task(_until(failed))
    await keys_known.wait()
    readiness.done("the API keys")


def _reports(
    settings: Settings, effects: Effects, histories: Histories, fresh: FreshReports, failed: asyncio.Future
) -> KafkaBroker:
    broker = make_broker(settings)

    async def take(records: list[MeterRecord | VerifiedReport], ends: dict[int, int]) -> None:
        try:
            await handlers.take_records(effects, settings, histories, records, ends)
            if len(records) >= BUSY_FROM:
                await asyncio.sleep(settings.meter_linger_s)  # so that the next batch is a large one
        except AWAY as error:
            structlog.get_logger().warning("the meter waits for PostgreSQL", error=str(error))
            await asyncio.sleep(settings.reconnect_delay_s)
            raise  # the batch comes again
        except Exception as error:
            # Anything else would come again for ever: it ends the process instead.
            if not failed.done():
                failed.set_exception(error)
            raise

    subscribe_batches(broker, METER_REPORTS, NAME, METER_RECORD, take, with_ends=True, read=fresh.read)
    return broker


async def _until(failed: asyncio.Future) -> None:
    await failed


async def _follow_events(settings: Settings, effects: Effects, readiness: Readiness) -> None:
    async def read_cursor() -> Position:
        async with effects.pool.acquire() as connection:
            return await read_position(connection, contracts.CONSUMER, settings.shard)

    handle, caught_up = partial(contracts.take_batch, effects, settings), partial(readiness.done, "the event log")
    await follow_from(settings, read_cursor, handle, caught_up, kinds=contracts.HANDLERS)
