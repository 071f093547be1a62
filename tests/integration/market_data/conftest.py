"""A running market_data that a module's tests share, each with a product of its own, and fresh ones for the others."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from infra.embedded import Running
from tests.fixtures.market_data import (
    Corner,
    LogWriter,
    Service,
    SharedMarket,
    log_writer,
    running_service,
    shared_market,
)
from tests.fixtures.servers import LentBroker

StartMarketData = Callable[..., AbstractContextManager[Service]]
QUEUE_MESSAGES = 300


@pytest.fixture
async def writer(own_kafka: Running) -> AsyncIterator[LogWriter]:
    async with log_writer(own_kafka.address) as writer:
        yield writer


@pytest.fixture
def start_market_data(own_kafka: Running, fresh_database: str, tmp_path: Path) -> StartMarketData:
    """`with start_market_data(setting=…) as service:` runs the process; twice: the same data, another life."""

    def start(**settings: str | int) -> AbstractContextManager[Service]:
        addresses = {"kafka": own_kafka.address, "database_url": fresh_database}
        return running_service("market_data", tmp_path, **addresses | settings)

    return start


@pytest.fixture(scope="module")
def shared(broker_of_modules: LentBroker, servers_folder: Path, database_url: str) -> Iterator[SharedMarket]:
    with shared_market(
        broker_of_modules, servers_folder, database_url, market_data_reader_messages_max=QUEUE_MESSAGES
    ) as shared:
        yield shared


@pytest.fixture
async def corner(shared: SharedMarket) -> AsyncIterator[Corner]:
    async with log_writer(shared.kafka) as writer:
        yield Corner(shared, writer)
