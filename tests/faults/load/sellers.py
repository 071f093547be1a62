"""Used hardware under load: one lot is listed, then withdrawn, or bought, shipped, rejected and refunded, for ever."""

import asyncio
import random
from typing import Any

from clients.actors import Actor
from clients.http import open_async_client
from tests.faults.load.asking import ask, code_of

ENDED = ("REFUSED", "RELEASED", "WITHDRAWN")
SHIPMENT = {"carrier": "SF Express", "tracking": "SF1020304050"}
RETURN = (("ship", SHIPMENT), ("receive", {}), ("reject", {"reason": "not as inspected"}), ("returned", {}))
SALE = (("ship", SHIPMENT), ("receive", {}), ("accept", {}))
STATE_BEFORE = {
    "buy": "LISTED",
    "withdraw": "LISTED",
    "ship": "FUNDED",
    "receive": "SHIPPED",
    "reject": "INSPECTING",
    "accept": "INSPECTING",
    "returned": "REJECTED",
}
ROUND_WITHIN_S = 120
BUYERS_STEPS = ("buy", "receive", "reject", "accept")


class Seller:
    """One lot on its way round; `steps` are the acknowledged steps by listing, in order."""

    def __init__(self, seller: Actor, buyer: Actor, inspection_id: str, seed: int, pause_s: float):
        self._random, self._pause_s, self._inspection_id = random.Random(seed), pause_s, inspection_id
        url = seller.addresses["listings"]
        self._seller = open_async_client(url, seller.credentials, timeout_s=5)
        self._buyer = open_async_client(url, buyer.credentials, timeout_s=5)
        self.steps: dict[str, list[str]] = {}
        self.contradictions: list[str] = []
        self._count = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Sends lots round until told to stop, or until one gets stuck."""
        while not stop.is_set() and not self.contradictions:
            ways = ((("withdraw", {}),), (("buy", {}), *RETURN))
            await self._send_in_time(self._random.choice(ways))

    async def finish(self) -> None:
        """Sells one last lot for good."""
        while not self.contradictions and not any("accept" in steps for steps in self.steps.values()):
            await self._send_in_time((("buy", {}), *SALE))

    async def close(self) -> None:
        """Gives its connections back."""
        await self._seller.aclose()
        await self._buyer.aclose()

    async def _send_in_time(self, way: tuple[tuple[str, dict[str, str]], ...]) -> None:
        try:
            async with asyncio.timeout(ROUND_WITHIN_S):
                await self._send_round(way)
        except TimeoutError:
            self.contradictions.append(f"a lot is stuck; the last were {list(self.steps.items())[-2:]}")

    async def _send_round(self, way: tuple[tuple[str, dict[str, str]], ...]) -> None:
        listing_id = await self._list()
        for step, form in way:
            if await self._wait(listing_id, STATE_BEFORE[step]):
                await self._take(listing_id, step, form)
        await self._wait(listing_id)

    async def _list(self) -> str:
        """Lists the lot, once however often the request goes unanswered."""
        self._count += 1
        key = {"Idempotency-Key": f"lot-{self._count}"}
        while True:
            form = {"kind": "module", "title": f"lot {self._count}", "hub": "CNS", "price": "1000.00"}
            form |= {"currency": "CNY", "inspection_id": self._inspection_id}
            response = await self._ask(self._seller, "POST", "/v1/listings", json=form, headers=key)
            if response is not None and response.is_success:
                self.steps[response.json()["listing_id"]] = ["list"]
                return response.json()["listing_id"]
            if response is not None and code_of(response) != "bad_inspection":
                self.contradictions.append(f"lot {self._count}: {response.text}")

    async def _wait(self, listing_id: str, state: str | None = None) -> bool:
        """Waits until the listing is in the state (True), or has ended."""
        while True:
            response = await self._ask(self._seller, "GET", f"/v1/sales/{listing_id}")
            now = response.json()["state"] if response is not None and response.is_success else None
            if response is not None and response.status_code == 404:
                self.contradictions.append(f"{listing_id} is not there any more")
                return False
            if now is None:
                continue  # unanswered, which says nothing
            if now == state or now in ENDED:
                return now == state
            if state is not None and now not in _on_the_way_to(state):
                return False

    async def _take(self, listing_id: str, step: str, form: dict[str, str]) -> None:
        client = self._buyer if step in BUYERS_STEPS else self._seller
        request = {"json": form, "headers": {"Idempotency-Key": f"{listing_id}-{step}"}}
        while (response := await self._ask(client, "POST", f"/v1/listings/{listing_id}/{step}", **request)) is None:
            pass
        if response.is_success:  # also where an earlier request did it, unanswered: the key brings the first answer
            self.steps.setdefault(listing_id, []).append(step)
        else:
            self.contradictions.append(f"{listing_id} {step}: {response.text}")

    async def _ask(self, *request: Any, **options: Any) -> Any:
        await asyncio.sleep(self._pause_s)
        return await ask(*request, **options)


def _on_the_way_to(state: str) -> tuple[str, ...]:
    return {"LISTED": ("LOCKING",), "FUNDED": ("LISTED", "FUNDING")}.get(state, ())
