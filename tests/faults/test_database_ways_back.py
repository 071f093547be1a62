"""PostgreSQL put back from an older copy, then lost, under live agents and leases: all goes on, nobody is charged."""

import asyncio
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from clients.actors import Actor, Registry
from clients.http import result_of
from console.demo.sites import AgentSite, Sites
from infra import postgres
from infra.exchange import RunningExchange
from infra.reference.products import Timing
from schemas.delivery import MeterRecordView
from schemas.events import PositionSettled, Trade
from tests.faults.audit.books import check_books
from tests.faults.audit.deliveries import check_receipts
from tests.faults.audit.log import EventLog
from tests.faults.audit.reports import Reports, check_reports
from tests.faults.test_nothing_is_lost import database_url
from tests.fixtures.exchange import open_market

PERIOD_S = 60
PRODUCT = "H100SXM80.CNE.F"
POLICY = {"hub": "CNE", "periods_ahead": 8, "price": {"floor": "12.50"}}
LIFE_S = 60
GOES_ON_WITHIN_S = 90
SETTLED_WITHIN_S = 8 * PERIOD_S


@dataclass
class Venue:
    """The exchange, its administrator, one operator with a live agent, one buyer."""

    exchange: RunningExchange
    registry: Registry
    buyer: Actor
    sites: Sites
    site: AgentSite

    def node(self) -> dict:
        return result_of(self.registry.admin.delivery.get(f"/v1/nodes/{self.site.node_id}"))

    def buy_all(self) -> int:
        """Buys a GPU in every contract that is open and offered; returns how many."""
        rows = result_of(self.buyer.market_data.get("/v1/contracts", params={"product": PRODUCT, "state": "OPEN"}))
        bought = 0
        for row in rows["items"]:
            order = {"contract": row["contract"], "side": "buy", "qty": 1, "price": "13.00", "tif": "IOC"}
            bought += result_of(self.buyer.gateway.post("/v1/orders", json=order))["order"]["filled_qty"]
        return bought

    def metered(self, event: PositionSettled) -> str:
        """Returns what the meter made of a position, and of what."""
        response = self.buyer.delivery.get(f"/v1/positions/{event.position_id}/meter").raise_for_status()
        seen = MeterRecordView.model_validate_json(response.content)
        inputs = seen.inputs
        facts = {
            name: getattr(inputs, name) and getattr(inputs, name) - inputs.start_ms
            for name in ("end_ms", "offered_ms", "access_ms", "released_ms")
        }
        outages = [(each.start_ms - inputs.start_ms, each.end_ms - inputs.start_ms) for each in inputs.excuses]
        judged = [
            (each.start_ms - inputs.start_ms, each.end_ms - inputs.start_ms, each.quality, each.reason)
            for each in seen.outcome.intervals
        ]
        delivered = (event.delivered_gpu_s, event.excused_gpu_s)
        return f"{event.contract} {delivered}: {facts}, away {outages}, {judged}"

    def goes_on(self) -> None:
        """Waits until the node is for sale, and reports that it makes now are taken."""
        heard_ms = self.node()["last_report_ms"]
        wait_until(lambda: self.node()["last_report_ms"] > heard_ms, GOES_ON_WITHIN_S)
        wait_until(lambda: self.node()["state"] == "active", GOES_ON_WITHIN_S)


def wait_until(holds: Callable[[], bool], within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.2)


@contextmanager
def open_venue() -> Iterator[Venue]:
    """Opens a venue with one node for sale and an hour of it sold; where the block fails, its folder stays."""
    work = Path(tempfile.mkdtemp(prefix="hourbook-database-"))
    work.chmod(0o755)
    with open_market(work, Timing.sandbox(PERIOD_S), HOURBOOK_PERIOD_S=str(PERIOD_S)) as (exchange, registry, sites):
        operator = registry.open_account("north", "operate", CNY="500000.00")
        buyer = registry.open_account("alice", "trade", CNY="100000.00")
        site = sites.start_agent(operator, "north-01", POLICY, 2)
        wait_until(lambda: site.node_id is not None, GOES_ON_WITHIN_S)
        venue = Venue(exchange, registry, buyer, sites, site)
        wait_until(lambda: venue.node()["state"] == "active", GOES_ON_WITHIN_S)
        wait_until(lambda: venue.buy_all() > 0, GOES_ON_WITHIN_S)
        yield venue
    shutil.rmtree(work, ignore_errors=True)


def put_back(data: Path, copy: Path | None) -> None:
    """Replaces PostgreSQL's folder by a copy of it, or takes it away."""
    postgres.remove_data(data / "postgres")
    if copy is not None:
        subprocess.run(["cp", "-a", f"{copy}/", str(data / "postgres")], check=True)


async def settled(exchange: RunningExchange) -> tuple[list[PositionSettled], bool]:
    log = await EventLog.read(exchange.kafka_options())
    last = {event.position_id: event for event in log.of(PositionSettled)}
    return list(last.values()), last.keys() == {trade.position_id for trade in log.of(Trade)}


@pytest.mark.slow
@pytest.mark.timeout(1_500)
def test_nodes_and_leases_outlive_an_older_copy_and_a_lost_database_and_nobody_is_charged():  # A7 A17 A18
    with open_venue() as venue:
        lose_the_database(venue)


def lose_the_database(venue: Venue) -> None:
    """Puts back an older copy, then takes the database away, and looks at everything."""
    exchange = venue.exchange
    print(f"\nlogs, where this fails: {exchange.data / 'logs'}")
    exchange.stop()
    copy = exchange.data / "older-copy"
    subprocess.run(["cp", "-a", f"{exchange.data / 'postgres'}/", str(copy)], check=True)
    exchange.start()
    venue.goes_on()
    venue.buy_all()
    time.sleep(LIFE_S)
    for older in (copy, None):
        exchange.stop()
        put_back(exchange.data, older)
        exchange.start()
        venue.goes_on()
        time.sleep(PERIOD_S)
    assert venue.node()["account"] == "north"
    wait_until(lambda: asyncio.run(settled(exchange))[1], SETTLED_WITHIN_S)
    positions, _ = asyncio.run(settled(exchange))
    assert sum(event.delivered_gpu_s for event in positions) > 0
    charged = [event for event in positions if event.damages_micros]
    assert charged == [], "\n".join(venue.metered(event) for event in charged)
    venue.sites.stop()  # so that nothing is acknowledged while the audit reads
    log = asyncio.run(EventLog.read(exchange.kafka_options()))
    reports = asyncio.run(Reports.read(exchange.kafka_options()))
    faults = check_books(venue.registry.admin, exchange.environment)
    for party in (venue.buyer, venue.site.operator):
        faults += check_receipts(log, party)
    faults += asyncio.run(check_reports(reports, [venue.site], database_url(exchange)))
    assert faults == []
