"""Everything is killed under a load of orders, cancels, reports and deliveries; nothing acknowledged is lost."""

import asyncio
import time
from pathlib import Path

import pytest

from clients.demo.actors import Registry
from clients.demo.checks import replay, run_checks
from clients.demo.sites import Sites
from clients.http import result_of
from infra.exchange import RunningExchange, free_ports, running
from infra.reference.load import load_products
from infra.reference.products import Timing
from schemas.events import PositionSettled, Trade
from schemas.topics import EVENTS
from tests.faults.audit import EventLog, check_fills, check_orders, check_reports, check_settlements, read_topic
from tests.faults.feed import FeedReader
from tests.faults.killer import Killer
from tests.faults.load import Contracts, Trader

PERIOD_S = 20
PRODUCT = "H100SXM80.CNE.F"
TRADERS = 3
PAUSE_S = 0.1
CALM_S = 3.0
SITES = (("north-01", "12.50"), ("south-01", "12.90"))


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_what_was_acknowledged_outlives_every_kill(tmp_path_factory: pytest.TempPathFactory, kills: int, seed: int):
    """Holds invariants 1, 2, 3, 4 and 6."""
    work = tmp_path_factory.mktemp("faults")
    for folder in (work, *work.parents[:2]):
        folder.chmod(0o755)
    with running(work / "data", HOURBOOK_PERIOD_S=str(PERIOD_S), **free_ports()) as exchange:
        faults = asyncio.run(run_and_audit(exchange, work, kills, seed))
    assert faults == [], f"repeat: ./hourbook test faults --kills {kills} --seed {seed}"


async def run_and_audit(exchange: RunningExchange, work: Path, kills: int, seed: int) -> list[str]:
    """Plays the load and the kills, and returns every broken promise."""
    registry, sites = await asyncio.to_thread(prepare, exchange, work)
    try:
        traders, feed = await play(exchange, registry, kills, seed)
        await wait_settled(exchange)
    finally:
        await asyncio.to_thread(sites.stop)
    return await audit(exchange, registry, traders, feed)


def prepare(exchange: RunningExchange, work: Path) -> tuple[Registry, Sites]:
    """Loads the products and starts live agents that sell single GPUs."""
    timing = Timing.sandbox(PERIOD_S)
    products = load_products(exchange.addresses["kafka"], exchange.data / "keys", timing)
    assert PRODUCT in {each.product for each in products}
    registry = Registry(exchange.addresses, exchange.data / "keys", work / "keys")
    sites = Sites(registry, work / "sites", exchange.data / "logs")
    for label, price in SITES:
        operator = registry.open_account(label.partition("-")[0], "operate", CNY="500000.00")
        policy = {"hub": "CNE", "periods_ahead": 8, "price": {"floor": price}}
        sites.start_agent(operator, label, policy, gpus=8)
    for number in range(TRADERS):
        registry.open_account(f"trader-{number}", "trade", CNY="100000.00")
    return registry, sites


async def play(exchange: RunningExchange, registry: Registry, kills: int, seed: int) -> tuple[list[Trader], FeedReader]:
    """Runs the load until the last kill is over, then lets every open question be answered."""
    stop = asyncio.Event()
    url = exchange.addresses["market_data"]
    contracts, feed = Contracts(url, PRODUCT), FeedReader(url, PRODUCT)
    traders = [
        Trader(registry.actors[f"trader-{number}"], contracts, seed + number, PAUSE_S) for number in range(TRADERS)
    ]
    async with asyncio.TaskGroup() as tasks:
        for each in (*traders, feed):
            tasks.create_task(each.run(stop))
        tasks.create_task(contracts.follow(stop))
        await wait_trading(traders)
        await Killer(exchange, kills, seed, CALM_S).run()
        await asyncio.sleep(CALM_S)
        stop.set()
    for trader in traders:
        await trader.resolve(within_s=60)
    return traders, feed


async def wait_trading(traders: list[Trader]) -> None:
    """Waits until orders are acknowledged, so that the first kill meets a market at work."""
    async with asyncio.timeout(90):
        while not all(trader.notes.orders for trader in traders):
            await asyncio.sleep(0.2)


async def wait_settled(exchange: RunningExchange) -> None:
    """Waits until every position whose delivery is over is settled, for as long as that may take."""
    deadline = time.monotonic() + 8 * PERIOD_S
    while time.monotonic() < deadline:
        log = EventLog()
        log.take(await read_topic(exchange.addresses["kafka"], EVENTS.name))
        trades = {event.position_id for event in log.events if isinstance(event, Trade)}
        if trades == {event.position_id for event in log.events if isinstance(event, PositionSettled)}:
            return
        await asyncio.sleep(2)


async def audit(exchange: RunningExchange, registry: Registry, traders: list[Trader], feed: FeedReader) -> list[str]:
    """Returns every fault found in the logs, the books and the feed."""
    kafka = exchange.addresses["kafka"]
    log = EventLog()
    log.take(await read_topic(kafka, EVENTS.name))
    trades = [event for event in log.events if isinstance(event, Trade)]
    settled = {event.position_id for event in log.events if isinstance(event, PositionSettled)}
    notes = {trader.actor.account: trader.notes for trader in traders}
    faults = log.faults + check_orders(log, notes) + check_fills(log) + check_settlements(log)
    faults += await check_reports(kafka)
    faults += [f"position {t.position_id} was never settled" for t in trades if t.position_id not in settled]
    product_trades = [event.trade_id for event in trades if event.contract.startswith(PRODUCT)]
    if feed.trade_ids != product_trades:
        faults.append(f"the feed showed {len(feed.trade_ids)} trades of {len(product_trades)}")
    faults += feed.faults
    faults += await asyncio.to_thread(check_books, exchange, registry)
    acknowledged = sum(len(each.orders) for each in notes.values())
    print(
        f"{acknowledged} orders acknowledged, {sum(len(each.canceled) for each in notes.values())} cancels, "
        f"{len(trades)} trades, {len(settled)} positions settled, {len(log.events)} events, "
        f"{log.repeated} written again by a restarted engine, feed connected {feed.connections} times"
    )
    return faults


def check_books(exchange: RunningExchange, registry: Registry) -> list[str]:
    """The command log replays to the same bytes; debits equal credits; engine and ledger agree."""
    replayed = replay(exchange.environment)
    deadline = time.monotonic() + 60
    while (trial := result_of(registry.admin.ledger.get("/v1/ledger/trial-balance")))["seq"] < replayed["seq"]:
        if time.monotonic() > deadline:
            return [f"the ledger stands at {trial['seq']}, the engine at {replayed['seq']}"]
        time.sleep(0.2)
    return [f"{each.name}: {each.figures}" for each in run_checks(registry.admin, replayed, trial) if not each.held]
