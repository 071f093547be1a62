"""Traders that never stop: each places and cancels, and writes down what the exchange acknowledged."""

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any

import httpx

from clients.demo.actors import Actor
from clients.http import open_async_client

PRICES = ("12.40", "12.60", "12.84", "13.00", "13.20")
AGAIN = (202, 429, 500, 502, 503, 504)


@dataclass
class Notes:
    """What one trader was told: orders by client id as acknowledged, cancels acknowledged, ids without an answer."""

    orders: dict[str, dict[str, Any]] = field(default_factory=dict)
    canceled: set[int] = field(default_factory=set)
    refused: dict[str, str] = field(default_factory=dict)
    unanswered: dict[str, dict[str, Any]] = field(default_factory=dict)
    contradictions: list[str] = field(default_factory=list)


class Trader:
    """One account's steady flow of orders and cancels. A request without an answer is repeated until it has one."""

    def __init__(self, actor: Actor, contracts: "Contracts", seed: int, pause_s: float):
        self.actor, self.notes = actor, Notes()
        self._contracts, self._random, self._pause_s = contracts, random.Random(seed), pause_s
        self._count = 0
        self._client = open_async_client(actor.addresses["gateway"], actor.credentials, timeout_s=5)

    async def run(self, stop: asyncio.Event) -> None:
        """Trades until told to stop, then settles what was left open."""
        while not stop.is_set():
            await self._place()
            if self._random.random() < 0.4:
                await self._cancel()
            await asyncio.sleep(self._pause_s)

    async def resolve(self, within_s: float) -> None:
        """Repeats every unanswered request until it is answered: the exchange must say what became of it."""
        async with asyncio.timeout(within_s):
            while self.notes.unanswered:
                for client_order_id, form in list(self.notes.unanswered.items()):
                    await self._send(client_order_id, form)
                await asyncio.sleep(0.2)
        await self._client.aclose()

    async def _place(self) -> None:
        contract = self._contracts.pick(self._random)
        if contract is None:
            return
        self._count += 1
        form = {
            "contract": contract,
            "side": "buy",
            "qty": self._random.choice((1, 1, 2, 4)),
            "price": self._random.choice(PRICES),
            "tif": self._random.choice(("GTG", "GTG", "IOC")),
        }
        await self._send(f"{self.actor.account}-{self._count}", form)

    async def _send(self, client_order_id: str, form: dict[str, Any]) -> None:
        body = form | {"client_order_id": client_order_id}
        response = await self._request("POST", "/v1/orders", json=body)
        if response is None or response.status_code in AGAIN:
            self.notes.unanswered[client_order_id] = form
            return
        self.notes.unanswered.pop(client_order_id, None)
        if response.status_code in (200, 201):
            self.notes.orders[client_order_id] = response.json()["order"]
        elif response.status_code == 422:
            self.notes.refused[client_order_id] = response.json()["code"]
        else:
            self.notes.contradictions.append(f"{client_order_id}: {response.status_code} {response.text}")

    async def _cancel(self) -> None:
        alive = [
            o for o in self.notes.orders.values() if o["order_id"] not in self.notes.canceled and o["remaining_qty"]
        ]
        if not alive:
            return
        order = self._random.choice(alive[-20:])
        response = await self._request("DELETE", f"/v1/orders/{order['order_id']}")
        if response is not None and response.status_code == 200 and response.json()["canceled"]:
            self.notes.canceled.add(order["order_id"])

    async def _request(self, method: str, path: str, **options: Any) -> httpx.Response | None:
        try:
            return await self._client.request(method, path, **options)
        except httpx.TransportError:
            return None


class Contracts:
    """The contracts that the load trades in, kept fresh from public market data."""

    def __init__(self, url: str, product: str):
        self._client, self._product = open_async_client(url), product
        self._open: list[str] = []

    def pick(self, choice: random.Random) -> str | None:
        """Returns one of the next contracts, None while none is known."""
        return choice.choice(self._open) if self._open else None

    async def follow(self, stop: asyncio.Event) -> None:
        """Reads the list again every second."""
        while not stop.is_set():
            try:
                response = await self._client.get("/v1/contracts", params={"product": self._product, "state": "OPEN"})
                if response.status_code == 200:
                    rows = sorted(response.json()["items"], key=lambda row: row["start"])
                    self._open = [row["contract"] for row in rows[1:5]]
            except httpx.TransportError:
                pass
            await asyncio.sleep(1)
        await self._client.aclose()
