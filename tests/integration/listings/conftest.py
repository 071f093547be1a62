"""A listings service and a matching service in this process; inspections and keys come straight onto their topics."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest_asyncio

from clients.http import Credentials, new_credentials, open_async_client, result_of
from infra.ports import free_port
from schemas.delivery import NodeStateChanged
from schemas.events import EVENT, AnyEvent
from schemas.nodes import InspectedGpu
from schemas.topics import DELIVERY_EVENTS, EVENTS, KEYS_EVENTS
from schemas.venue import Credit, NodeGpu, NodesAlive, RegisterNode
from services.listings import app as listings_app
from services.listings.settings import Settings
from services.matching.app import MatchingService
from services.matching.settings import MatchingSettings
from tests.fixtures.command_log import CommandLog, produce
from tests.fixtures.keys import new_key, root_of
from tests.fixtures.servers import LentBroker
from tests.fixtures.used_hardware import NODE, inspected, inspection, serial_of, uuid_of
from tests.integration.delivery.conftest import in_background, make_database

MONEY_MICROS = 1_000_000_000_000
DAYS = {"receive": 5, "return": 5, "confirm": 5, "dispute": 6}
DAY_MS = 1_000


class Board:
    """The board as sellers and buyers meet it."""

    def __init__(self, log: CommandLog, settings: Settings):
        self.log, self.settings = log, settings
        self.url = f"http://{settings.host}:{settings.listings_port}"
        self.clients: dict[str, httpx.AsyncClient] = {}
        self._inspections = 0
        self._service: AbstractAsyncContextManager | None = None

    async def join(self, account: str, *scopes: str) -> None:
        """Gives an account money and a key that the service knows."""
        credit = Credit(transfer_id=f"t-{account}", account=account, asset="CNY", amount_micros=MONEY_MICROS)
        await self.log.send("ledger", credit)
        key: Credentials = new_credentials(f"key-{account}")
        known = new_key(root_of(self.log.keys_dir), account, key, *scopes)
        await produce(self.log.bootstrap, KEYS_EVENTS.name, known.canonical())
        self.clients[account] = open_async_client(self.url, key)

    async def inspect(self, account: str, *gpus: int | InspectedGpu, **changes: Any) -> str:
        """Deposits an inspection of GPUs, clean where only their number is named; returns its id."""
        self._inspections += 1
        found = [inspected(gpu) if isinstance(gpu, int) else gpu for gpu in gpus]
        told = {"seq": self._inspections, "ts_ms": time.time_ns() // 1_000_000, "account": account}
        told |= {"inspection_id": f"{self._inspections:064x}"} | changes
        event = inspection(*found, **told)
        await produce(self.log.bootstrap, DELIVERY_EVENTS.name, event.canonical())
        return event.inspection_id

    async def node_changes(self, **changes: Any) -> None:
        """Lets delivery say how a node stands."""
        self._inspections += 1
        told = {"seq": self._inspections, "ts_ms": time.time_ns() // 1_000_000, "state": "active", "level": "T1"}
        event = NodeStateChanged(**told | changes)
        await produce(self.log.bootstrap, DELIVERY_EVENTS.name, event.canonical())

    async def post(self, account: str, path: str, form: dict | None = None, key: str | None = None) -> httpx.Response:
        """Sends a step, under an Idempotency-Key where one is named."""
        headers = {"Idempotency-Key": key} if key else {}
        return await self.clients[account].post(f"/v1/listings{path}", json=form or {}, headers=headers)

    async def listed(self, account: str, *numbers: int, key: str | None = None, **changes: Any) -> str:
        """Lists GPUs and waits until the engine has taken them off the rental market."""
        form = offer(await self.inspect(account, *numbers, **changes))

        async def known() -> str | None:
            answer = await self.post(account, "", form, key)
            return answer.json()["listing_id"] if answer.is_success else None

        listing_id = await self.wait_for(known)
        await self.in_state(account, listing_id, "LISTED")
        return listing_id

    async def funded(self, seller: str, buyer: str, *numbers: int) -> str:
        """Lists GPUs and lets the buyer pay for them."""
        listing_id = await self.listed(seller, *numbers)
        result_of(await self.post(buyer, f"/{listing_id}/buy"))
        await self.in_state(buyer, listing_id, "FUNDED")
        return listing_id

    async def sale(self, account: str, listing_id: str) -> dict[str, Any]:
        """The listing as the account sees it."""
        return result_of(await self.clients[account].get(f"/v1/sales/{listing_id}"))

    async def in_state(self, account: str, listing_id: str, state: str, within_s: float = 30) -> dict[str, Any]:
        """Waits until the listing is in the state."""

        async def reached() -> dict | None:
            sale = await self.sale(account, listing_id)
            return sale if sale["state"] == state else None

        return await self.wait_for(reached, within_s)

    async def events(self, kind: str) -> list[AnyEvent]:
        """All events of a kind that the engine has written."""
        mark = f'"type":"{kind}"'.encode()
        return [EVENT.validate_json(raw) for raw in await self.log.read(EVENTS.name) if mark in raw]

    async def wait_for(self, condition: Callable[[], Awaitable[Any]], within_s: float = 30) -> Any:
        """Returns what the condition answers once it is true. Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            while not (answer := await condition()):
                await asyncio.sleep(0.1)
            return answer

    async def start(self) -> None:
        """Starts a listings service and waits until it is ready."""

        async def ready() -> bool:
            try:
                return (await client.get("/readyz")).status_code == 200
            except httpx.TransportError:
                return False

        self._service = in_background(lambda tasks: listings_app.start(tasks, self.settings))
        await self._service.__aenter__()
        async with httpx.AsyncClient(base_url=self.url) as client:
            await self.wait_for(ready)

    async def stop(self) -> None:
        """Ends the service as a signal would."""
        await self._service.__aexit__(None, None, None)


def offer(inspection_id: str, **changes: Any) -> dict[str, Any]:
    """The form of a listing."""
    form = {"kind": "module", "title": "H100 SXM5", "hub": "CNE", "price": "1000.00", "currency": "CNY"}
    return form | {"inspection_id": inspection_id} | changes


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def board(servers_folder: Path, database_url: str, broker_of_modules: LentBroker) -> AsyncIterator[Board]:
    """A venue of matching and listings with a seller's node of 40 GPUs, a buyer, a rival and an arbiter."""
    folder = servers_folder / uuid4().hex[:8]
    kafka = await broker_of_modules.lend()
    log = CommandLog(kafka.address, folder / "keys")
    await log.begin()
    gpus = tuple(NodeGpu(uuid=uuid_of(n), serial=serial_of(n)) for n in range(40))
    node = RegisterNode(node=NODE, account="seller", grade="H100SXM80", hub="CNE", level="T1", gpus=gpus)
    await log.send("delivery", node, NodesAlive(nodes=(NODE,), until_ms=4_000_000_000_000))
    shared = {"kafka": kafka.address, "data": folder}
    settings = Settings(
        **shared,
        database_url=await make_database(database_url),
        listings_port=free_port(),
        listings_day_ms=DAY_MS,
        **{f"listings_{name}_days": days for name, days in DAYS.items()},
        listings_clock_interval_s=0.1,
        log_level="warning",
    )
    board = Board(log, settings)
    matching = MatchingService(MatchingSettings(**shared, matching_port=free_port(), log_level="warning"))
    async with in_background(matching.run):
        await board.join("seller", "read", "sell_hw")
        await board.join("buyer", "read", "trade")
        await board.join("rival", "read", "trade")
        await board.join("judge", "read", "arbiter")
        await board.start()
        yield board
        await board.stop()
    for client in board.clients.values():
        await client.aclose()
    await log.close()
