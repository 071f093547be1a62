"""One broker, one database and one running market_data for each test."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from infra.embedded import Running
from tests.fixtures.market_data import LogWriter, Service, log_writer, running_service

StartMarketData = Callable[..., AbstractAsyncContextManager[Service]]


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
