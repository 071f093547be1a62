"""What a fleet that sells costs the venue: many nodes of one account, each with an agent's own selling, 48 hours ahead.

Each node reads and posts as an agent on its own machine does (nothing is shared); all report as agents do. Counted are
requests by route and processor seconds of each program: while all post, while nothing changes, while all follow an edit
of the policy. What the reports alone cost is measured before anything is sold, and shown beside it.
"""

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from agents.node.client import ApiKey, GatewayClient
from agents.node.clock import VenueClock
from agents.node.market import OperatorAccount
from agents.node.offering import Capacity
from agents.node.policy import Policy
from agents.node.seller import Seller
from benchmarks.reports import GRADE, HUB, INTERVAL_MS, PRODUCT, SETTINGS, PlayedNode, _enrol_all, _report_all
from benchmarks.rest import processor_s
from clients.actors import Actor, Registry
from infra.admin import send_commands
from infra.exchange import RunningExchange, free_ports, running
from infra.reference.products import Timing, list_products

BOOK_FRESH_S = 2
INTERVAL_S = INTERVAL_MS / 1000
START_S_MAX = 300
MONEY = "50000000.00"


class Fleet:
    """Sellers of many nodes, each with its own view of the account; requests are counted by method and route."""

    def __init__(self, operator: Actor, nodes: list[PlayedNode], gpus: int) -> None:
        self.requests: Counter[str] = Counter()
        self._gpus = gpus
        self._http = httpx.AsyncClient(timeout=60, event_hooks={"request": [self._count]})
        key = ApiKey(operator.credentials.key_id, operator.credentials.private_key)
        self._sellers = [self._seller(operator, key, node.node_id) for node in nodes]

    def _seller(self, operator: Actor, key: ApiKey, node_id: str) -> Seller:
        urls = operator.addresses["gateway"], operator.addresses["market_data"]
        account = OperatorAccount(GatewayClient(self._http, *urls, key), BOOK_FRESH_S)
        account.only_node = node_id
        seller = Seller(account, VenueClock())
        seller.node_id = node_id
        return seller

    async def _count(self, request: httpx.Request) -> None:
        path = request.url.path.split("/")
        self.requests[f"{request.method} /{'/'.join(path[1:4] if path[2] == 'capacity' else path[1:3])}"] += 1

    async def balance(self, policy: Policy, over_s: float) -> None:
        """Lets every seller take one look and step, spread over some seconds."""

        async def one(seller: Seller, delay_s: float) -> None:
            await asyncio.sleep(delay_s)
            await seller.balance(policy, GRADE, Capacity(self._gpus, self._gpus))

        pause_s = over_s / len(self._sellers)
        await asyncio.gather(*(one(seller, place * pause_s) for place, seller in enumerate(self._sellers)))

    def asks(self) -> int:
        """Returns how many asks stand, as the sellers know."""
        return sum(seller.standing()["asks"] for seller in self._sellers)

    def prices(self) -> set[str]:
        """Returns the prices at which asks stand."""
        return {seller.standing()["price_min"] for seller in self._sellers}

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()


def measure_fleet(work: Path, nodes: int, gpus: int, hours: int, rounds: int, rules: bool) -> dict[str, Any]:
    """Starts an exchange of its own, lets nodes offer `gpus` GPUs each for `hours` hours, and measures each phase."""
    with running(work / "data", **free_ports(), **SETTINGS) as exchange:
        product = next(each for each in list_products(Timing()) if each.product == PRODUCT)
        asyncio.run(send_commands(exchange.addresses["kafka"], exchange.data / "keys", [product]))
        registry = Registry(exchange.addresses, exchange.data / "keys", work / "keys")
        operator = registry.open_account("bench-operator", "operate", CNY=MONEY)
        return asyncio.run(_measure(exchange, operator, nodes, gpus, hours, rounds, rules))


async def _measure(
    exchange: RunningExchange, operator: Actor, nodes: int, gpus: int, hours: int, rounds: int, rules: bool
) -> dict[str, Any]:
    played = await _enrol_all(exchange.addresses["delivery"], operator, nodes, gpus)
    url = urlsplit(exchange.addresses["delivery"])
    await _report_all(url, played, max(nodes // 10, 1), INTERVAL_S)
    fleet = Fleet(operator, played, gpus)
    figures: dict[str, Any] = {"nodes": nodes, "hours": hours, "rules": rules}

    async def phase(name: str, work: Any) -> None:
        fleet.requests.clear()
        before, began = processor_s(exchange.data), time.perf_counter()
        await work()
        after = processor_s(exchange.data)
        figures[name] = {
            "seconds": round(time.perf_counter() - began, 1),
            "requests": sum(fleet.requests.values()),
            "by_route": dict(sorted(fleet.requests.items())),
            "processor_s": {program: round(after[program] - before[program], 2) for program in after},
        }

    async def reports(count: int) -> None:
        for _ in range(count):
            await _report_all(url, played, max(nodes // 10, 1), INTERVAL_S)

    def policy(floor: str) -> Policy:
        price: dict[str, Any] = {"floor": floor, "ask": f"{float(floor) + 2:.2f}"}
        price |= {"undercut": {}, "index": {}, "decay": {}} if rules else {}
        hooks = {"start": ("true",), "stop": ("true",)}
        return Policy.model_validate({"label": "b", "hub": HUB, "periods_ahead": hours, "price": price, "hooks": hooks})

    async def until_all(policy_now: Policy, done: Any) -> None:
        began = time.perf_counter()
        while not done():
            await fleet.balance(policy_now, INTERVAL_S)
            if time.perf_counter() - began > START_S_MAX:
                raise RuntimeError(f"{fleet.asks()} asks stand after {START_S_MAX} s")

    async def steady() -> None:
        for _ in range(rounds):
            await fleet.balance(policy("12.84"), INTERVAL_S)

    await phase("reports_alone", lambda: reports(rounds))
    reporting = asyncio.create_task(reports(START_S_MAX))  # whatever the sellers wait for: silent nodes sell nothing
    try:
        await phase("start", lambda: until_all(policy("12.84"), lambda: fleet.asks() >= nodes * hours))
        await phase("steady", steady)
        before = fleet.prices()
        await phase("edit", lambda: until_all(policy("13.84"), lambda: not before & fleet.prices()))
    finally:
        reporting.cancel()
        await asyncio.wait([reporting])
        await fleet.close()
    return figures
