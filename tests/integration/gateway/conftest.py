"""A gateway and a matching service in this process, on a broker and a database of the test's own."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest
import websockets

from clients.http import Credentials, load_credentials, new_credentials, open_async_client
from infra.ports import free_port
from schemas.ids import contract_name
from schemas.venue import Credit, NodeGpu, NodesAlive, RegisterNode
from services.gateway import app as gateway_app
from services.gateway.settings import GatewaySettings
from services.matching.app import MatchingService
from services.matching.settings import MatchingSettings
from tests.fixtures.command_log import CommandLog
from tests.fixtures.event_log import PRODUCT

PERIOD_S = 3600


def contract_in(periods: int) -> str:
    """The contract whose delivery starts so many whole hours from now."""
    return contract_name(PRODUCT, (int(time.time()) // PERIOD_S + periods) * PERIOD_S, PERIOD_S)


@asynccontextmanager
async def in_background(run: Callable) -> AsyncIterator[asyncio.Task]:
    """Runs a service's main coroutine in a task group until the block ends; its own failure is raised."""

    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            await run(tasks)

    task = asyncio.create_task(main())
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class Trading:
    """The venue as its users meet it: over HTTP, each with a key of its own."""

    def __init__(self, log: CommandLog, settings: GatewaySettings, matching: MatchingSettings):
        self.log, self.settings, self.matching_settings = log, settings, matching
        self.url = f"http://{settings.host}:{settings.gateway_port}"
        self.admin = open_async_client(self.url, load_credentials(settings.keys_dir, "admin"))
        self.clients: list[httpx.AsyncClient] = [self.admin]
        self.keys: dict[str, Credentials] = {}

    @asynccontextmanager
    async def gateway(self) -> AsyncIterator[asyncio.Task]:
        """A running gateway that is ready."""
        async with in_background(lambda tasks: gateway_app.run(self.settings, tasks)) as task:
            await self.wait_ready(task)
            yield task

    @asynccontextmanager
    async def matching(self) -> AsyncIterator[asyncio.Task]:
        """A running matching service."""
        async with in_background(MatchingService(self.matching_settings).run) as task:
            yield task

    async def wait_ready(self, task: asyncio.Task, within_s: float = 30) -> None:
        async with asyncio.timeout(within_s), httpx.AsyncClient() as client:
            while not task.done():
                try:
                    if (await client.get(f"{self.url}/readyz")).status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.05)
            await task

    async def join(self, account: str, *scopes: str, money: int = 0) -> httpx.AsyncClient:
        """Opens an account with a key, and credits it; returns its client."""
        self.keys[account] = key = new_credentials(f"key-{account}")
        assert (await self.admin.post("/v1/accounts", json={"account": account})).status_code == 201
        form = {"account": account, "public_key": key.public_key, "scopes": scopes, "key_id": key.key_id}
        assert (await self.admin.post("/v1/keys", json=form)).status_code == 201
        if money:
            await self.log.send(
                "ledger", Credit(transfer_id=f"t-{account}", account=account, asset="CNY", amount_micros=money)
            )
        client = open_async_client(self.url, key)
        self.clients.append(client)
        return client

    async def add_node(self, node: str, account: str, gpus: int = 8) -> None:
        """Registers a node that stays alive."""
        uuids = [f"GPU-{node.encode().hex()[-24:].rjust(8, '0')}-{place:02d}" for place in range(gpus)]
        entries = tuple(NodeGpu(uuid=uuid, serial=uuid.removeprefix("GPU-")) for uuid in uuids)
        register = RegisterNode(node=node, account=account, grade="H100SXM80", hub="CNE", level="T1", gpus=entries)
        alive = NodesAlive(nodes=(node,), until_ms=(int(time.time()) + 86_400) * 1000)
        await self.log.send("delivery", register, alive)

    @asynccontextmanager
    async def feed(self, account: str, *channels: str) -> AsyncIterator["Feed"]:
        """A logged-in private session."""
        url = f"{self.url.replace('http', 'ws', 1)}/v1/ws"
        async with websockets.connect(url) as socket:
            await socket.send(json.dumps(self.keys[account].login()))
            assert json.loads(await socket.recv())["account"] == account
            await socket.send(json.dumps({"op": "subscribe", "channels": channels}))
            yield Feed(socket)

    async def close(self) -> None:
        for client in self.clients:
            await client.aclose()


class Feed:
    """A private session without its heartbeats."""

    def __init__(self, socket):
        self._socket = socket

    async def next(self) -> dict:
        async with asyncio.timeout(10):
            while (message := json.loads(await self._socket.recv())).get("ch") == "hb":
                pass
            return message


@pytest.fixture
async def quiet_venue(own_kafka, fresh_database, tmp_path: Path) -> AsyncIterator[Trading]:
    """Servers and logs with a product, but no service runs yet."""
    log = CommandLog(own_kafka.address, tmp_path / "keys")
    await log.begin()
    shared = {"kafka": own_kafka.address, "data": tmp_path}
    settings = GatewaySettings(**shared, database_url=fresh_database, gateway_port=free_port(), answer_timeout_s=3)
    trading = Trading(log, settings, MatchingSettings(**shared, matching_port=free_port()))
    yield trading
    await trading.close()


@pytest.fixture
async def venue(quiet_venue: Trading) -> AsyncIterator[Trading]:
    """A trading venue."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(quiet_venue.matching())
        await stack.enter_async_context(quiet_venue.gateway())
        yield quiet_venue
