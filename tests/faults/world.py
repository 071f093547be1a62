"""Who takes part in the fault run: operators' live agents, traders, a payer, a seller of hardware, a feed reader."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

from clients.actors import Registry
from clients.http import result_of
from console.demo.sites import AgentSite, Sites
from infra.exchange import RunningExchange
from infra.reference.load import load_products
from infra.reference.products import Timing
from tests.faults.feed import FeedReader
from tests.faults.load.contracts import Contracts
from tests.faults.load.keys import KeyMaker
from tests.faults.load.payers import Payer
from tests.faults.load.sellers import Seller
from tests.faults.load.traders import Trader

PERIOD_S = 15
PRODUCT = "H100SXM80.CNE.F"
SITES = (("north-01", "CNE", "12.50", 8), ("south-01", "CNE", "12.90", 8), ("yard-01", "CNS", "13.50", 2))
TRADERS = 3
PAUSE_S = 0.05
ANSWERED_WITHIN_S = 120


@dataclass
class World:
    """Everybody, ready to begin."""

    registry: Registry
    sites: Sites
    agents: list[AgentSite]
    contracts: Contracts
    traders: list[Trader]
    payer: Payer
    key_maker: KeyMaker
    seller: Seller
    feed: FeedReader

    async def act(self, stop: asyncio.Event, is_last: bool = True, sells: bool = True) -> None:
        """Runs the load until told to stop, then until every open question is answered; nobody acts after the last.

        Without `sells` no hardware is on its way.
        """
        async with asyncio.TaskGroup() as tasks:
            for each in (*self.traders, self.payer, self.key_maker, *((self.seller,) if sells else ())):
                tasks.create_task(each.run(stop))
        for each in (*self.traders, self.payer):
            await each.resolve(ANSWERED_WITHIN_S)
        if is_last:
            await self.seller.finish()
            for each in (*self.traders, self.payer, self.seller):
                await each.close()

    async def wait_at_work(self) -> None:
        """Waits until everyone was told something, so that the first kill meets a market at work."""
        async with asyncio.timeout(ANSWERED_WITHIN_S):
            while not all([self.payer.posted, self.key_maker.made, self.seller.steps, self.feed.books]) or not all(
                trader.notes.orders for trader in self.traders
            ):
                await asyncio.sleep(0.2)


def prepare(exchange: RunningExchange, work: Path, seed: int) -> World:
    """Loads the products, starts the agents, opens the accounts."""
    load_products(exchange.addresses["kafka"], exchange.data / "keys", Timing.sandbox(PERIOD_S))
    registry = Registry(exchange.addresses, exchange.data / "keys", work / "keys")
    sites = Sites(registry, work / "sites", exchange.data / "logs")
    agents = []
    for label, hub, price, gpus in SITES:
        operator = registry.open_account(label.partition("-")[0], "operate", "sell_hw", CNY="500000.00")
        policy = {"hub": hub, "periods_ahead": 8, "price": {"floor": price}}
        agents.append(sites.start_agent(operator, label, policy, gpus))
    buyers = [registry.open_account(f"trader-{number}", "trade", CNY="100000.00") for number in range(TRADERS)]
    saver = registry.open_account("saver", "withdraw")
    collector = registry.open_account("collector", "trade", CNY="9000.00")
    _wait_active(registry, len(agents))
    inspection_id = sites.inspect(agents[-1])
    contracts = Contracts(exchange.addresses["market_data"], PRODUCT)
    return World(
        registry,
        sites,
        agents,
        contracts,
        [Trader(buyer, contracts, seed + number, PAUSE_S) for number, buyer in enumerate(buyers)],
        Payer(registry.admin, saver, seed, 3 * PAUSE_S),
        KeyMaker(registry.admin, saver.account, seed, 10 * PAUSE_S),
        Seller(agents[-1].operator, collector, inspection_id, seed, PAUSE_S),
        FeedReader(exchange.addresses["market_data"], contracts, seed),
    )


def _wait_active(registry: Registry, count: int) -> None:
    deadline = time.monotonic() + ANSWERED_WITHIN_S
    while sum(n["state"] == "active" for n in result_of(registry.admin.delivery.get("/v1/nodes"))["items"]) < count:
        if time.monotonic() > deadline:
            raise TimeoutError("the nodes did not become active")
        time.sleep(0.2)
