"""Sets the stage on a running exchange: products, sites, accounts, money, vouchers; then plays until it is stopped."""

import asyncio
import signal
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from clients.actors import Registry
from clients.http import open_async_client
from console.demo.sites import Sites
from console.play.cost import OwnCost
from console.play.desk import PASSING, Market
from console.play.loop import Play
from console.play.panels import missing_panels
from console.play.people import Person, issue_vouchers, open_accounts, open_desks, people
from console.play.sites import PlayedSites
from console.play.surplus import Surplus
from console.play.telling import Teller
from infra.reference.offers import load_offers

Ready = Callable[[str, list[str], str | None], None]

READY_WITHIN_S = 300.0
VOUCHER_HUBS = ("CNE", "CNW")


@dataclass(frozen=True)
class Company:
    """Everyone and everything that plays."""

    registry: Registry
    sites: Sites
    played: PlayedSites
    surplus: Surplus
    everyone: tuple[Person, ...]
    tally: Counter[str]


@dataclass(frozen=True)
class Stage:
    """Where to play: a running exchange, its folders, and what decides."""

    addresses: dict[str, str]
    data: Path
    seed: int
    sites: int
    say: Callable[[str], None]

    def play(self, ready: Ready) -> None:
        """Plays until SIGINT or SIGTERM; `ready` gets the product that shows most, what is missing still, and the
        product whose buyers get in by SSH, if there is one."""
        folder = self.data / "play"
        keys_dir = self.data / "keys"
        registry = Registry(self.addresses, keys_dir, folder / "keys")
        sites = Sites(registry, folder / "sites", self.data / "logs")
        played = PlayedSites(registry, sites, folder / "sites")
        tally: Counter[str] = Counter()
        surplus = Surplus(registry, sites, folder / "sites", self.seed, tally)
        try:
            surplus.start()
            played.start(load_offers()[0], self.sites - 1)
            products = tuple(played.bases())
            vouchered = tuple(product for product in products if product.split(".")[1] in VOUCHER_HUBS)
            # What a newcomer enters by SSH is left to him: the traders would have bought its few GPUs for hours ahead.
            taken = tuple(product for product in products if product != played.ssh_product) or products
            everyone = people(products, taken, tuple(product for product in vouchered if product in taken) or taken)
            open_accounts(registry, everyone)
            issue_vouchers(registry, self.addresses["kafka"], keys_dir, VOUCHER_HUBS)
            self.say(f"{len(played.stalls) + 1} sites start, {len(everyone)} traders wait for their asks")
            asyncio.run(self._run(Company(registry, sites, played, surplus, everyone, tally), ready))
        finally:
            sites.stop()

    async def _run(self, company: Company, ready: Ready) -> None:
        stopping = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        market = Market(self.addresses["market_data"], self.seed)
        await market.learn(company.played.bases())
        desks = open_desks(company.registry, market, company.everyone, company.tally)
        teller = Teller(market, self.addresses["delivery"], company.tally, self.say)
        cost = OwnCost(company.sites.pids)
        play = Play(self.seed, market, company.everyone, desks, company.played, company.surplus, teller, cost)
        try:
            tell_ready = partial(ready, ssh_product=company.played.ssh_product)
            await _both(play.run(stopping), self._watch(market, tell_ready, stopping))
        finally:
            for each in (market, company.surplus, *desks.values()):
                await each.close()

    async def _watch(self, market: Market, ready: Callable[[str, list[str]], None], stopping: asyncio.Event) -> None:
        """Waits until every panel of the page has something to show, and says so."""
        product, missing = next(iter(market.terms)), ["everything"]
        deadline = asyncio.get_running_loop().time() + READY_WITHIN_S
        async with open_async_client(self.addresses["listings"]) as listings:
            while missing and not stopping.is_set() and asyncio.get_running_loop().time() < deadline:
                await asyncio.sleep(1)
                try:
                    product, missing = await missing_panels(market, listings)
                except PASSING:
                    continue
        if not stopping.is_set():
            ready(product, missing)


async def _both(one: Coroutine[Any, Any, None], other: Coroutine[Any, Any, None]) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(one)
        group.create_task(other)
