"""A delivery service and a matching service in this process, on a broker and a database of the test's own."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import asyncpg
import httpx
import pytest
import pytest_asyncio

from clients.http import Credentials, new_credentials, open_async_client
from infra.genesis import genesis_command
from infra.ports import free_port
from schemas.delivery import DELIVERY_EVENT, DeliveryEvent
from schemas.events import EVENT, AnyEvent
from schemas.ids import contract_name, contract_start_s, product_of
from schemas.orders import PlaceBlock, PlaceOrder, PostCapacity
from schemas.topics import DELIVERY_EVENTS, EVENTS, KEYS_EVENTS
from schemas.venue import Credit, SetProductState, VenueCommand
from services.delivery import app as delivery_app
from services.delivery.settings import Settings
from services.kit.keys import load_private_key
from services.kit.store import enqueue
from services.matching.app import MatchingService
from services.matching.settings import MatchingSettings
from tests.fixtures.command_log import CommandLog, produce
from tests.fixtures.delivery import TestNode, signed_token
from tests.fixtures.event_log import PRODUCT, terms
from tests.fixtures.keys import issued, new_key, root_of
from tests.fixtures.node_agent import PlayedAgent
from tests.fixtures.servers import LentBroker

PERIOD_S = 6
TIMES = {"period_s": PERIOD_S, "gate_lead_s": 9, "grace_s": 2, "horizon_periods": 12, "final_after_s": 600}
PRICE_MICROS = 12_840_000
INTERRUPTIBLE = PRODUCT.removesuffix("F") + "I"
FAR_MS = 4_000_000_000_000
RICH_MICROS = 1_000_000_000_000


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


class Venue:
    """The venue as agents and buyers meet it; orders go straight into the command log."""

    def __init__(self, log: CommandLog, settings: Settings, period_s: int = PERIOD_S):
        self.log, self.settings, self.period_s = log, settings, period_s
        self.url = f"http://{settings.host}:{settings.delivery_port}"
        self.http = httpx.AsyncClient(base_url=self.url, timeout=10)
        self.keys: dict[str, Credentials] = {}
        self._operators: dict[str, Credentials] = {}
        self._tokens: dict[tuple[str, str], str] = {}
        self._events: dict[bytes, AnyEvent] = {}  # each event is read from its record once
        self._orders = self._joins = 0

    @asynccontextmanager
    async def delivery(self) -> AsyncIterator[asyncio.Task]:
        """A running delivery service that is ready."""
        async with in_background(lambda tasks: delivery_app.start(tasks, self.settings)) as task:
            await self.wait_for(self.is_ready, task=task)
            yield task

    async def is_ready(self) -> bool:
        try:
            return (await self.http.get("/readyz")).status_code == 200
        except httpx.TransportError:
            return False

    async def wait_for(self, condition: Callable, within_s: float = 30, task: asyncio.Task | None = None):
        """Returns what the condition answers once it is true. Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            while not (answer := await condition()):
                if task is not None and task.done():
                    await task
                await asyncio.sleep(0.1)
            return answer

    async def token(self, account: str, name: str, expires_ms: int = FAR_MS, nodes: int = 1) -> str:
        """A token as the gateway gives it out, after a key of the account has asked for it; one name, one token."""
        if (account, name) not in self._tokens:
            await self.issue({account: name}, expires_ms, nodes)
        return self._tokens[account, name]

    async def issue(self, asked: dict[str, str], expires_ms: int = FAR_MS, nodes: int = 1) -> None:
        """Gives tokens out to accounts, to each one by the name that it asks for."""
        records, root = [], root_of(self.log.keys_dir)
        gateway_key = load_private_key(self.log.keys_dir, "gateway")
        for account, name in asked.items():
            if account not in self._operators:
                self._operators[account] = new_credentials(f"operates-{account}")
                records.append(new_key(root, account, self._operators[account], "operate"))
            records.append(record := issued(self._operators[account], account, name, expires_ms, nodes))
            token = signed_token(gateway_key, account, record.token_id, expires_ms, nodes)
            self._tokens[account, name] = token.canonical().decode()
        await produce(self.log.bootstrap, KEYS_EVENTS.name, *(record.canonical() for record in records))

    async def join(self, account: str, *scopes: str) -> httpx.AsyncClient:
        """Gives an account money and a key that every edge knows; returns its client."""
        credit = Credit(transfer_id=f"t-{account}", account=account, asset="CNY", amount_micros=RICH_MICROS)
        await self.log.send("ledger", credit)
        if account in self.keys:  # the first key under an id counts
            return open_async_client(self.url, self.keys[account])
        # A key's id is never given to another key: whoever joins again gets a new one.
        self._joins += 1
        key = self.keys[account] = new_credentials(f"key-{account}-{self._joins}")
        known = new_key(root_of(self.log.keys_dir), account, key, *(scopes or ("read",)))
        await produce(self.log.bootstrap, KEYS_EVENTS.name, known.canonical())
        return open_async_client(self.url, key)

    @asynccontextmanager
    async def site(self, account: str, node: TestNode) -> AsyncIterator[PlayedAgent]:
        """An enrolled node that reports and is active."""
        agent = PlayedAgent(node, self.http)
        await agent.enrol(await self.token(account, f"token-{account}-{node.seed}"))
        task = asyncio.create_task(agent.run())
        try:
            await self.wait_for(lambda: self.is_alive(node.node_id))
            yield agent
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def node(self, node_id: str) -> dict:
        """What everyone may know of a node."""
        return (await self.http.get(f"/v1/nodes/{node_id}")).json()

    async def is_alive(self, node_id: str) -> bool:
        """Whether the engine has heard that the node lives."""
        events = await self.events("node_liveness_changed")
        return any(event.node == node_id and event.alive for event in events)

    def contracts(self, periods: int, ahead_s: float = 11, product: str = PRODUCT) -> list[str]:
        """Consecutive contracts, the first of which starts at least so many seconds from now."""
        start_s = (int(time.time() + ahead_s) // self.period_s + 1) * self.period_s
        return [contract_name(product, start_s + n * self.period_s, self.period_s) for n in range(periods)]

    async def offer(self, account: str, node: TestNode, contracts: list[str], gpus: int) -> None:
        """Posts a node's capacity over contracts."""
        first_s, last_s = contract_start_s(contracts[0]), contract_start_s(contracts[-1])
        order = PostCapacity(
            **self._next(account),
            product=product_of(contracts[0]),
            node=node.node_id,
            gpus=gpus,
            from_s=first_s,
            to_s=last_s + self.period_s,
            floor_price_micros=PRICE_MICROS,
            floor_curve_micros=None,
        )
        await self.log.append(order.canonical())

    async def buy(self, account: str, contract: str, qty: int) -> None:
        """Buys GPUs of one contract at the operators' price."""
        order = PlaceOrder(
            **self._next(account),
            contract=contract,
            side="buy",
            kind="limit",
            qty=qty,
            price_micros=PRICE_MICROS,
            max_cost_micros=None,
            tif="IOC",
            post_only=False,
            node=None,
            stp="cancel_newest",
        )
        await self.log.append(order.canonical())

    async def resell(self, account: str, contract: str, qty: int) -> None:
        """Offers GPUs of the account's own positions again, at the operators' price."""
        order = PlaceOrder(
            **self._next(account),
            contract=contract,
            side="sell",
            kind="limit",
            qty=qty,
            price_micros=PRICE_MICROS,
            max_cost_micros=None,
            tif="GTG",
            post_only=False,
            node=None,
            stp="cancel_newest",
        )
        await self.log.append(order.canonical())

    async def buy_block(self, account: str, contracts: list[str], qty: int) -> None:
        """Buys the same GPUs over consecutive contracts."""
        order = PlaceBlock(
            **self._next(account),
            product=PRODUCT,
            start_s=contract_start_s(contracts[0]),
            periods=len(contracts),
            qty=qty,
            min_qty=qty,
            limit_price_micros=PRICE_MICROS,
            max_cost_micros=None,
            tif="FOK",
            stp="cancel_newest",
        )
        await self.log.append(order.canonical())

    def _next(self, account: str) -> dict:
        self._orders += 1
        return {"command_id": f"c-{self._orders}", "account": account, "client_order_id": f"o-{self._orders}"}

    async def events(self, kind: str) -> list[AnyEvent]:
        """All events of a kind that the engine has written."""
        mark = f'"type":"{kind}"'.encode()
        marked = [raw for raw in await self.log.read(EVENTS.name) if mark in raw]
        self._events |= {raw: EVENT.validate_json(raw) for raw in marked if raw not in self._events}
        return [self._events[raw] for raw in marked]

    async def enqueue(self, command: VenueCommand) -> None:
        """Puts a command into delivery's outbox, as delivery itself would."""
        connection = await asyncpg.connect(self.settings.database_url, server_settings={"search_path": "delivery"})
        async with connection.transaction():
            await enqueue(connection, command)
        await connection.close()

    async def delivery_events(self) -> list[DeliveryEvent]:
        """Everything on `delivery.events` so far."""
        return [DELIVERY_EVENT.validate_json(raw) for raw in await self.log.read(DELIVERY_EVENTS.name)]

    async def sleep_until(self, time_s: float) -> None:
        """Waits for a time of the server's clock."""
        await asyncio.sleep(max(0, time_s - time.time()))

    async def leased(self, agent: PlayedAgent) -> float:
        """Waits until the agent has let a buyer in; returns when his time starts, in seconds."""

        async def has_lease() -> bool:
            return bool(agent.leases)

        await self.wait_for(has_lease, 60)
        return next(iter(agent.leases.values())).starts_ms / 1000

    async def settled(self, buyer: str, count: int, within_s: float = 60) -> list[AnyEvent]:
        """Waits until so many positions of a buyer are settled; returns their events in the order of positions."""

        async def enough():
            found = [event for event in await self.events("position_settled") if event.buyer == buyer]
            return found if len(found) >= count else None

        found = await self.wait_for(enough, within_s)
        return sorted(found, key=lambda event: event.position_id)


@asynccontextmanager
async def open_venue(
    kafka: str, database_url: str, folder: Path, settings_changed: dict | None = None, **terms_changed: int
) -> AsyncIterator[Venue]:
    """Logs with a product of short periods, and a matching service; delivery does not run yet."""
    log = CommandLog(kafka, folder / "keys")
    await log.append(genesis_command(log.keys_dir).canonical())
    times = TIMES | terms_changed
    products = terms(**times), terms(INTERRUPTIBLE, **times)
    await log.send("admin", *products, SetProductState(product=None, state="OPEN", reason="start"))
    shared = {"kafka": kafka, "data": folder}
    usual = {
        "delivery_port": free_port(),
        "simulated_challenge_n": 32,
        "history_interval_s": 1.0,
        "signature_window_ms": 60_000,
        "door_grace_ms_min": 600_000,  # nobody serves SSH where the played nodes say that they do
    }
    settings = Settings(**shared, database_url=database_url, **usual | (settings_changed or {}))
    matching = MatchingService(MatchingSettings(**shared, matching_port=free_port()))
    venue = Venue(log, settings, times["period_s"])
    async with in_background(matching.run):
        await venue.wait_for(lambda: venue.events("product_defined"))
        yield venue
    await venue.http.aclose()
    await log.close()


@pytest.fixture
async def quiet_venue(own_kafka, fresh_database, tmp_path: Path) -> AsyncIterator[Venue]:
    """A venue of the test's own, in which it starts delivery itself."""
    async with open_venue(own_kafka.address, fresh_database, tmp_path) as venue:
        yield venue


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue(
    request: pytest.FixtureRequest, servers_folder: Path, database_url: str, broker_of_modules: LentBroker
) -> AsyncIterator[Venue]:
    """A venue with delivery that a module's tests share; each has accounts, nodes and GPUs of its own.

    A module may change its products' terms by `TERMS`, and delivery's settings by `SETTINGS`.
    """
    # A stall of a busy machine is an outage, in which a node gets more time for its challenge than these periods have.
    calm = {"outage_ms_min": 60_000}
    changed = (calm | getattr(request.module, "SETTINGS", {}), getattr(request.module, "TERMS", {}))
    folder = servers_folder / uuid.uuid4().hex[:8]
    kafka = await broker_of_modules.lend()
    url = await make_database(database_url)
    async with open_venue(kafka.address, url, folder, changed[0], **changed[1]) as venue, venue.delivery():
        yield venue


async def make_database(server_url: str) -> str:
    """Makes an empty database on the session's server."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    connection = await asyncpg.connect(server_url)
    await connection.execute(f"create database {name}")
    await connection.close()
    return f"{server_url.rpartition('/')[0]}/{name}"
