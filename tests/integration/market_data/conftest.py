"""A running market_data that a module's tests share, each with a product of its own, and fresh ones for the others."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from infra.embedded import Running, start_kafka
from infra.topics import create_topics
from schemas.ids import contract_name
from schemas.topics import TOPICS
from tests.fixtures.event_log import PERIOD_S, START_S, EventLog, accepted, gone, traded
from tests.fixtures.market_data import LogWriter, Service, log_writer, running_service

StartMarketData = Callable[..., AbstractAsyncContextManager[Service]]
QUEUE_MESSAGES = 300


@pytest.fixture
async def writer(own_kafka: Running) -> AsyncIterator[LogWriter]:
    async with log_writer(own_kafka.address) as writer:
        yield writer


@pytest.fixture
def start_market_data(own_kafka: Running, fresh_database: str, tmp_path: Path) -> StartMarketData:
    """`async with start_market_data(setting=…) as service:` runs the process; twice: the same data, another life."""

    def start(**settings: str | int) -> AbstractAsyncContextManager[Service]:
        addresses = {"kafka": own_kafka.address, "database_url": fresh_database}
        return running_service("market_data", tmp_path, **addresses | settings)

    return start


class Shared:
    """One broker, one database, one log, one market_data."""

    def __init__(self, kafka: str, service: Service) -> None:
        self.kafka, self.service = kafka, service
        self.log = EventLog(ts_ms=time.time_ns() // 1_000_000)
        self.written = 0


class Corner:
    """A product of one test's own in the shared log: `P` is its usual price."""

    P = 12_840_000

    def __init__(self, shared: Shared, writer: LogWriter) -> None:
        self.log, self.service, self._shared, self._writer = shared.log, shared.service, shared, writer
        self.product = f"T{len(self.log.commands)}SXM80.CNE.F"
        self.contract = contract_name(self.product, START_S, PERIOD_S)
        self.log.open_market(self.product)
        self.publish = writer.publish

    @property
    def seq(self) -> int:
        return len(self.log.events)

    def rest(self, side: str, qty: int, price_micros: int) -> int:
        """An order that rests; returns its id."""
        order_id = self.log.next_id()
        self.log.command(accepted(order_id, side, qty, price_micros, contract=self.contract))
        return order_id

    def buy(self, maker: int, qty: int, price_micros: int, left: int) -> None:
        """A bid that takes a resting ask; `left` stays of the ask."""
        taker = self.log.next_id()
        fill = traded(maker, taker, qty, price_micros, left=(left, 0), contract=self.contract)
        self.log.command(accepted(taker, "buy", qty, price_micros, contract=self.contract), fill)

    def cancel(self, order_id: int, side: str, qty: int, price_micros: int) -> None:
        """A resting order is canceled."""
        self.log.command(gone("OrderCanceled", order_id, side, qty, price_micros, contract=self.contract))

    def event(self, name: str, **fields: Any) -> None:
        """Any other event as a command of its own."""
        self.log.command((name, fields))

    async def write(self) -> None:
        """Appends what is new and waits until the service has it."""
        self._shared.written = await self._writer.write(self.log, self._shared.written)
        async with asyncio.timeout(20):
            while (await self.service.get("/v1/products"))["seq"] < self.seq:
                await asyncio.sleep(0.03)


@pytest.fixture(scope="module")
def shared(servers_folder: Path, database_url: str) -> Iterator[Shared]:
    folder = servers_folder / uuid.uuid4().hex[:8]
    kafka = start_kafka(folder)
    name = f"test_{uuid.uuid4().hex[:12]}"

    async def execute(statement: str) -> None:
        connection = await asyncpg.connect(database_url)
        await connection.execute(statement)
        await connection.close()

    with asyncio.Runner() as runner:
        runner.run(create_topics(kafka.address, TOPICS))
        runner.run(execute(f"create database {name}"))
        settings = {
            "kafka": kafka.address,
            "database_url": f"{database_url.rpartition('/')[0]}/{name}",
            "market_data_reader_messages_max": QUEUE_MESSAGES,
        }
        running = running_service("market_data", folder, **settings)
        service = runner.run(running.__aenter__())
        runner.run(service.ready())
        yield Shared(kafka.address, service)
        runner.run(running.__aexit__(None, None, None))
        runner.run(execute(f"drop database {name} with (force)"))
    kafka.stop()


@pytest.fixture
async def corner(shared: Shared) -> AsyncIterator[Corner]:
    async with log_writer(shared.kafka) as writer:
        yield Corner(shared, writer)
