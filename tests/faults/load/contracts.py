"""The contracts that the load trades in: the next ones whose gate is open, kept fresh from public market data."""

import asyncio
import random
from typing import Any

from clients.http import open_async_client
from tests.faults.load.asking import ask

NEAREST = 2


class Contracts:
    """The nearest open contracts; the first of them may reach its gate at any moment."""

    def __init__(self, url: str, product: str):
        self._client, self.product = open_async_client(url), product
        self.rows: list[dict[str, Any]] = []

    def pick(self, choice: random.Random) -> dict[str, Any] | None:
        """Returns one of them, None while none is known."""
        return choice.choice(self.rows) if self.rows else None

    async def run(self, stop: asyncio.Event) -> None:
        """Reads the list again every second."""
        while not stop.is_set():
            params = {"product": self.product, "state": "OPEN"}
            response = await ask(self._client, "GET", "/v1/contracts", params=params)
            if response is not None and response.is_success:
                self.rows = sorted(response.json()["items"], key=lambda row: row["start"])[:NEAREST]
            await asyncio.sleep(1)
        await self._client.aclose()
