"""API keys made and revoked under load: an acknowledged key must open every door, a revoked one none."""

import asyncio
import random

from clients.actors import Actor
from clients.http import Credentials, new_credentials, open_async_client
from tests.faults.load.asking import ask

DOORS = {
    "gateway": "/v1/balances",
    "ledger": "/v1/statements",
    "delivery": "/v1/receipts",
    "listings": "/v1/sales/none",
}
SHUT = 401
SAMPLE = 12


class KeyMaker:
    """Registers a key every few seconds, and revokes some; `made` and `revoked` were acknowledged."""

    def __init__(self, admin: Actor, account: str, seed: int, pause_s: float):
        self._addresses, self._account = admin.addresses, account
        self._random, self._pause_s = random.Random(seed), pause_s
        self._client = open_async_client(admin.addresses["gateway"], admin.credentials, timeout_s=5)
        self._count = 0
        self.made: dict[str, Credentials] = {}
        self.revoked: dict[str, Credentials] = {}
        self.contradictions: list[str] = []

    async def run(self, stop: asyncio.Event) -> None:
        """Makes and revokes until told to stop."""
        while not stop.is_set():
            await self._make(new_credentials(f"{self._account}-spare-{self._count}"), stop)
            self._count += 1
            if len(self.made) > 2 and self._random.random() < 0.5:
                await self._revoke(self._random.choice(list(self.made)), stop)
            await asyncio.sleep(self._pause_s)

    async def _make(self, credentials: Credentials, stop: asyncio.Event) -> None:
        form = {"account": self._account, "key_id": credentials.key_id, "public_key": credentials.public_key}
        if await self._until_answered("POST", "/v1/keys", stop, json=form | {"scopes": ["read"]}):
            self.made[credentials.key_id] = credentials

    async def _revoke(self, key_id: str, stop: asyncio.Event) -> None:
        credentials = self.made.pop(key_id)
        if await self._until_answered("DELETE", f"/v1/keys/{key_id}", stop):
            self.revoked[key_id] = credentials

    async def _until_answered(self, method: str, path: str, stop: asyncio.Event, **options) -> bool:
        while (response := await ask(self._client, method, path, **options)) is None:
            if stop.is_set():
                return False
            await asyncio.sleep(0.2)
        if response.is_error:
            self.contradictions.append(f"{method} {path}: {response.text}")
        return response.is_success

    async def check(self) -> list[str]:
        """Tries acknowledged keys, made and revoked, at every door."""
        await self._client.aclose()
        faults = list(self.contradictions)
        for kind, keys in (("made", self.made), ("revoked", self.revoked)):
            for key_id in self._random.sample(sorted(keys), min(SAMPLE, len(keys))):
                for service, path in DOORS.items():
                    async with open_async_client(self._addresses[service], keys[key_id]) as client:
                        response = await client.get(path)
                    if (response.status_code == SHUT) != (kind == "revoked"):
                        faults.append(f"{key_id}, acknowledged as {kind}: {service} answers {response.text}")
        return faults
