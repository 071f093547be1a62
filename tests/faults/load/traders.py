"""Traders: each places, repeats, cancels and looks up orders, and writes down what the exchange acknowledged."""

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any

from clients.actors import Actor
from clients.http import open_async_client
from tests.faults.load.asking import ask, code_of
from tests.faults.load.contracts import Contracts

PRICES = ("12.40", "12.60", "12.84", "13.00", "13.20")
FIRST_ANSWER = ("order_id", "status", "qty", "filled_qty", "remaining_qty", "filled_value")
GONE = ("unknown_order", "order_closed")
ENDED = ("filled", "canceled", "expired")


@dataclass
class Notes:
    """What one trader was told: orders by client id as acknowledged, orders canceled, ids refused or unanswered."""

    forms: dict[str, dict[str, Any]] = field(default_factory=dict)
    orders: dict[str, dict[str, Any]] = field(default_factory=dict)
    canceled: set[int] = field(default_factory=set)
    refused: dict[str, str] = field(default_factory=dict)
    unanswered: set[str] = field(default_factory=set)
    repeats: int = 0
    contradictions: list[str] = field(default_factory=list)


class Trader:
    """One account's steady flow. A request without an answer is repeated until it has one."""

    def __init__(self, actor: Actor, contracts: Contracts, seed: int, pause_s: float):
        self.actor, self.notes = actor, Notes()
        self._contracts, self._random, self._pause_s = contracts, random.Random(seed), pause_s
        self._client = open_async_client(actor.addresses["gateway"], actor.credentials, timeout_s=5)
        self._seen: dict[int, dict[str, Any]] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Trades until told to stop."""
        steps = (self._place, self._cancel, self._cancel_contract, self._repeat, self._look)
        while not stop.is_set():
            await self._random.choices(steps, (55, 23, 2, 10, 10))[0]()
            await asyncio.sleep(self._pause_s)

    async def resolve(self, within_s: float) -> None:
        """Asks until everything is answered: the exchange must say what became of it. Leaves no order standing."""
        try:
            async with asyncio.timeout(within_s):
                while self.notes.unanswered:
                    for client_order_id in sorted(self.notes.unanswered):
                        await self._send(client_order_id)
                    await asyncio.sleep(0.2)
                while not await self._cancel_all({}):
                    await asyncio.sleep(0.2)
        except TimeoutError:
            self.notes.contradictions.append(f"never answered: {sorted(self.notes.unanswered) or 'cancel-all'}")

    async def close(self) -> None:
        """Gives its connections back."""
        await self._client.aclose()

    async def _place(self) -> None:
        row = self._contracts.pick(self._random)
        if row is None:
            return
        client_order_id = f"{self.actor.account}-{len(self.notes.forms) + 1}"
        self.notes.forms[client_order_id] = self._form(row)
        await self._send(client_order_id)

    def _form(self, row: dict[str, Any]) -> dict[str, Any]:
        price = self._random.choice(PRICES)
        if self._random.random() < 0.1:
            block = {"kind": "block", "product": row["product"], "start": row["start"], "periods": 2, "qty": 1}
            return block | {"limit_price": price, "tif": self._random.choice(("GTG", "FOK"))}
        order = {"contract": row["contract"], "side": "buy", "qty": self._random.choice((1, 1, 1, 2)), "price": price}
        return order | {"tif": self._random.choice(("GTG", "GTG", "IOC"))}

    async def _repeat(self) -> None:
        if self.notes.orders:
            self.notes.repeats += 1
            await self._send(self._random.choice(list(self.notes.orders)))

    async def _look(self) -> None:
        """What was acknowledged can be read, and what was read once is never taken back."""
        if not self.notes.orders:
            return
        first = self.notes.orders[self._random.choice(list(self.notes.orders)[-100:])]
        order_id = first["order_id"]
        response = await ask(self._client, "GET", f"/v1/orders/{order_id}")
        if response is None:
            return
        before, now = self._seen.get(order_id, first), response.json()
        canceled = order_id in self.notes.canceled and now.get("status") != "canceled"
        taken_back = before["status"] in ENDED and now.get("status") != before["status"]
        if response.is_error or now["filled_qty"] < before["filled_qty"] or canceled or taken_back:
            self.notes.contradictions.append(f"order {order_id}: {before}, then {now}")
        self._seen[order_id] = now

    async def _send(self, client_order_id: str) -> None:
        notes = self.notes
        body = notes.forms[client_order_id] | {"client_order_id": client_order_id}
        response = await ask(self._client, "POST", "/v1/orders", json=body)
        known = notes.orders.get(client_order_id)
        if response is None:
            if known is None:
                notes.unanswered.add(client_order_id)
            return
        notes.unanswered.discard(client_order_id)
        if response.is_success:
            order = response.json()["order"]
            if known is None:
                notes.orders[client_order_id] = order
            elif response.status_code != 200 or any(order[name] != known[name] for name in FIRST_ANSWER):
                notes.contradictions.append(f"{client_order_id}: first {known}, repeated {response.text}")
        elif response.status_code == 422 and known is None:
            notes.refused[client_order_id] = code_of(response)
        else:
            notes.contradictions.append(f"{client_order_id}: first {known}, then {response.text}")

    async def _cancel(self) -> None:
        alive = [
            order["order_id"]
            for order in self.notes.orders.values()
            if order["remaining_qty"] and order["order_id"] not in self.notes.canceled
        ]
        if alive:
            self._note_cancel(await ask(self._client, "DELETE", f"/v1/orders/{self._random.choice(alive[-20:])}"))

    async def _cancel_contract(self) -> None:
        if row := self._contracts.pick(self._random):
            await self._cancel_all({"contract": row["contract"]})

    async def _cancel_all(self, filters: dict[str, str]) -> bool:
        response = await ask(self._client, "POST", "/v1/orders/cancel-all", json=filters)
        self._note_cancel(response)
        return response is not None

    def _note_cancel(self, response: Any) -> None:
        if response is None:
            return
        if response.is_success:
            self.notes.canceled |= {order["order_id"] for order in response.json()["orders"]}
        elif code_of(response) not in GONE:
            self.notes.contradictions.append(f"{self.actor.account}: a cancel was answered with {response.text}")
