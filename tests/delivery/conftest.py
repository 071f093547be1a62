"""One exchange with short periods, two live agents over the stand-in NVML, and two buyers for the whole suite."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from clients.actors import Actor, Registry
from console.demo.sites import AgentSite
from infra.exchange import RunningExchange
from infra.reference.products import Timing
from tests.fixtures.exchange import open_market

PERIOD_S = 20
TIMING = Timing.sandbox(PERIOD_S)
PRODUCT = "H100SXM80.CNE.F"
PRICES = {"sound": "12.50", "faulty": "12.60"}


@dataclass(frozen=True)
class Market:
    """The running exchange and who trades on it."""

    exchange: RunningExchange
    registry: Registry
    sites: dict[str, AgentSite]
    buyers: dict[str, Actor]


@pytest.fixture(scope="session")
def market(servers_folder: Path) -> Iterator[Market]:
    with open_market(servers_folder / "delivery", TIMING) as (exchange, registry, agents):
        sites = {}
        for label, price in PRICES.items():
            operator = registry.open_account(label, "operate", CNY="100000.00")
            policy = {"hub": "CNE", "periods_ahead": 8, "price": {"floor": price}}
            sites[label] = agents.start_agent(operator, label, policy, gpus=8)
        buyers = {name: registry.open_account(name, "trade", CNY="1000.00") for name in ("ann", "ben")}
        yield Market(exchange, registry, sites, buyers)
