"""Money in and out under load: each deposit and withdrawal has a key, is repeated until answered, and again later."""

import asyncio
import random
from typing import Any

import httpx

from clients.actors import Actor
from clients.http import open_async_client
from tests.faults.load.asking import ask, code_of

ASSET = "CNY"


class Payer:
    """The administrator pays in for one account, its owner takes out; `posted` are the acknowledged answers by key."""

    def __init__(self, admin: Actor, owner: Actor, seed: int, pause_s: float):
        self.account, self._random, self._pause_s = owner.account, random.Random(seed), pause_s
        self.asked: dict[str, tuple[str, str]] = {}
        self.posted: dict[str, dict[str, Any]] = {}
        self.refused: set[str] = set()
        self.contradictions: list[str] = []
        url = admin.addresses["ledger"]
        self._clients = {
            "deposits": open_async_client(url, admin.credentials, timeout_s=5),
            "withdrawals": open_async_client(url, owner.credentials, timeout_s=5),
        }

    async def run(self, stop: asyncio.Event) -> None:
        """Pays until told to stop."""
        while not stop.is_set():
            await self._send(self._choose())
            await asyncio.sleep(self._pause_s)

    async def resolve(self, within_s: float) -> None:
        """Asks until every payment is answered."""
        try:
            async with asyncio.timeout(within_s):
                while waiting := self._waiting():
                    await self._send(waiting[0])
        except TimeoutError:
            self.contradictions.append(f"never answered: payments {self._waiting()}")

    async def close(self) -> None:
        """Gives its connections back."""
        for client in self._clients.values():
            await client.aclose()

    def _waiting(self) -> list[str]:
        return sorted(self.asked.keys() - self.posted.keys() - self.refused)

    def _choose(self) -> str:
        if self.asked and self._random.random() < 0.4:
            return self._random.choice(list(self.asked))
        key = f"{self.account}-{len(self.asked) + 1}"
        kind = self._random.choice(("deposits", "deposits", "withdrawals"))
        self.asked[key] = (kind, f"{self._random.randrange(1, 9)}.{self._random.randrange(1_000_000):06d}")
        return key

    async def _send(self, key: str) -> None:
        kind, amount = self.asked[key]
        form = {"asset": ASSET, "amount": amount} | ({"account": self.account} if kind == "deposits" else {})
        response = await ask(self._clients[kind], "POST", f"/v1/{kind}", json=form, headers={"Idempotency-Key": key})
        if response is not None:
            self._note(key, response)

    def _note(self, key: str, response: httpx.Response) -> None:
        first = self.posted.get(key)
        if response.is_success and response.json()["state"] == "posted":
            self.posted.setdefault(key, response.json())
            if first not in (None, response.json()) or (first and response.status_code != 200):
                self.contradictions.append(f"{key}: first {first}, repeated {response.text}")
        elif code_of(response) == "insufficient_funds" and first is None:
            self.refused.add(key)
        else:
            self.contradictions.append(f"{key}: first {first}, then {response.status_code} {response.text}")
            self.refused.add(key)
