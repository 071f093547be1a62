"""Everything is killed under a load of orders, money, reports, deliveries and sales; nothing acknowledged is lost."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from infra.exchange import RunningExchange, free_ports, running
from infra.postgres import PostgresPlan
from schemas.events import PositionSettled, Trade
from schemas.ids import product_of
from tests.faults.audit.books import check_books
from tests.faults.audit.deliveries import check_facts, check_meters, check_receipts, check_settlements
from tests.faults.audit.hardware import check_board, check_sales
from tests.faults.audit.log import EventLog
from tests.faults.audit.money import check_payments, check_postings
from tests.faults.audit.orders import check_orders, check_trades
from tests.faults.audit.reports import NEVER_PUT_BACK, Reports, check_reports
from tests.faults.audit.views import check_gateway, check_market_data
from tests.faults.killer import CALM_S, Killer
from tests.faults.load.asking import broken, unbound
from tests.faults.world import PERIOD_S, PRODUCT, World, prepare

FAULTS_SHOWN = 20
SETTLED_WITHIN_S = 12 * PERIOD_S


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_what_was_acknowledged_outlives_every_kill(kills: int, seed: int):
    """Holds invariants 1, 2, 3, 4 and 6."""
    # Not pytest's own folder: every session of pytest on this machine closes that one to others, and so to PostgreSQL.
    work = Path(tempfile.mkdtemp(prefix="hourbook-faults-"))
    work.chmod(0o755)
    with running(work / "data", HOURBOOK_PERIOD_S=str(PERIOD_S), **free_ports()) as exchange:
        faults = asyncio.run(run_and_audit(exchange, work, kills, seed))
    repeat = f"logs: {work / 'data' / 'logs'}; repeat: ./hourbook test faults --kills {kills} --seed {seed}"
    assert not faults, "\n".join([f"{len(faults)} promises were broken", *faults[:FAULTS_SHOWN], repeat])
    shutil.rmtree(work)


async def run_and_audit(exchange: RunningExchange, work: Path, kills: int, seed: int) -> list[str]:
    """Plays the load and the kills, and returns every broken promise."""
    world = await asyncio.to_thread(prepare, exchange, work, seed)
    load_over, all_over = asyncio.Event(), asyncio.Event()
    try:
        async with asyncio.TaskGroup() as watching:
            for each in (world.contracts, world.feed):
                watching.create_task(each.run(all_over))
            load = watching.create_task(world.act(load_over))
            await world.wait_at_work()
            await Killer(exchange, world.sites, world.agents, seed, kills).run()
            await asyncio.sleep(CALM_S)
            load_over.set()
            await load
            await wait_settled(exchange)
            all_over.set()
    finally:
        await asyncio.to_thread(world.sites.stop)
    return await audit(exchange, world) + broken


async def wait_settled(exchange: RunningExchange) -> None:
    """Waits until every position is settled, for as long as that may take."""
    deadline = time.monotonic() + SETTLED_WITHIN_S
    while time.monotonic() < deadline:
        log = await EventLog.read(exchange.kafka_options())
        settled = {event.position_id for event in log.of(PositionSettled)}
        if settled == {trade.position_id for trade in log.of(Trade)}:
            return
        await asyncio.sleep(2)


async def audit(exchange: RunningExchange, world: World, reports_kept: Mapping[str, int] = NEVER_PUT_BACK) -> list[str]:
    """Returns every fault found in the notes, the logs, the books, the views and the feed."""
    kafka, admin = exchange.kafka_options(), world.registry.admin
    log, reports = await EventLog.read(kafka), await Reports.read(kafka)
    notes = {trader.actor.account: trader.notes for trader in world.traders}
    faults = log.faults + check_orders(log, notes) + check_trades(log) + check_settlements(log)
    faults += check_postings(log) + check_payments(log, world.payer) + check_sales(log, world.seller)
    faults += await check_reports(reports, world.agents, database_url(exchange), reports_kept)
    faults += await check_facts(kafka) + await check_board(kafka, admin, world.seller)
    faults += await world.key_maker.check()
    faults += await asyncio.to_thread(check_books, admin, exchange.environment)
    for party in (*(trader.actor for trader in world.traders), *(site.operator for site in world.agents)):
        faults += await asyncio.to_thread(check_gateway, log, party)
        faults += await asyncio.to_thread(check_receipts, log, party)
    for trader in world.traders:
        faults += await asyncio.to_thread(check_meters, log, trader.actor, reports)
    faults += await asyncio.to_thread(check_market_data, log, admin, PRODUCT, f"{PERIOD_S}s")
    faults += check_feed(log, world) + check_busy(log, world)
    say(log, world)
    return faults


def check_feed(log: EventLog, world: World) -> list[str]:
    """The reader saw every trade once and in order, and every book without a hole."""
    trades = [trade.trade_id for trade in log.of(Trade) if product_of(trade.contract) == PRODUCT]
    missed = [] if world.feed.trade_ids == trades else [f"the feed showed {world.feed.trade_ids}, traded was {trades}"]
    return missed + world.feed.faults


def check_busy(log: EventLog, world: World) -> list[str]:
    """A run in which something was not even tried proves nothing about it."""
    tried = {
        "trades": log.of(Trade),
        "delivered time": sum(event.delivered_gpu_s for event in log.of(PositionSettled)),
        "cancels": set.union(*(trader.notes.canceled for trader in world.traders)),
        "repeats": sum(trader.notes.repeats for trader in world.traders),
        "payments": world.payer.posted,
        "keys": world.key_maker.made,
        "sales": world.seller.steps,
        "book deltas": sum(book.deltas for book in world.feed.books.values()),
    }
    return [f"there were no {what}: nothing was tested" for what, count in tried.items() if not count]


def database_url(exchange: RunningExchange) -> str:
    """Returns the exchange's database with its owner's password."""
    port = int(exchange.environment["HOURBOOK_POSTGRES_PORT"])
    data = exchange.data
    return PostgresPlan(data / "postgres", data / "logs", port, data / "keys").url()


def say(log: EventLog, world: World) -> None:
    """Prints what the run consisted of."""
    notes, settled = [trader.notes for trader in world.traders], log.of(PositionSettled)
    delivered, sold = sum(e.delivered_gpu_s for e in settled), sum(e.qty * e.period_s for e in settled)
    print(
        f"acknowledged: {sum(len(each.orders) for each in notes)} orders, "
        f"{sum(each.repeats for each in notes)} repeats, "
        f"{sum(len(each.refused) for each in notes)} refusals, {sum(len(each.canceled) for each in notes)} cancels, "
        f"{len(world.payer.posted)} payments, {len(world.key_maker.made)} + {len(world.key_maker.revoked)} keys, "
        f"{sum(map(len, world.seller.steps.values()))} steps of {len(world.seller.steps)} hardware sales\n"
        f"log: {len(log.events)} events, {log.repeated} written again; {len(log.of(Trade))} trades; "
        f"{len(settled)} positions settled, {delivered} of {sold} GPU-seconds delivered\n"
        f"feed: {world.feed.connections} connections, {sum(b.deltas for b in world.feed.books.values())} book deltas\n"
        f"not answered: {dict(unbound)}"
    )
