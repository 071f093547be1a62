"""A running market_data and terminal, and a browser that opens the page; without a browser the suite says so."""

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.fixtures.market_data import Corner, Service, SharedMarket, log_writer, running_service, shared_market
from tests.fixtures.servers import LentBroker

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
HOUR_S = 3600
expect.set_options(timeout=15_000)


def browser_path() -> str | None:
    """The browser to drive: HOURBOOK_BROWSER, else the first one on PATH."""
    return os.environ.get("HOURBOOK_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)), None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            if browser_path() is None:
                reason = "NO BROWSER FOUND: the terminal page is NOT tested (install chromium or set HOURBOOK_BROWSER)"
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="module")
def shared(broker_of_modules: LentBroker, servers_folder: Path, database_url: str) -> Iterator[SharedMarket]:
    with shared_market(broker_of_modules, servers_folder, database_url) as shared:
        yield shared


@pytest.fixture(scope="module")
def terminal(shared: SharedMarket, servers_folder: Path) -> Iterator[Service]:
    folder = servers_folder / "terminal"
    with running_service("terminal", folder, terminal_market_data_url=shared.service.url) as terminal:
        asyncio.run(terminal.ready())
        yield terminal


@pytest.fixture
async def market(shared: SharedMarket) -> AsyncIterator[Corner]:
    """A product of the test's own: asks in its first six hours, a bid and a trade in the first."""
    async with log_writer(shared.kafka) as writer:
        market = Corner(shared, writer, start_s=int(time.time()) // HOUR_S * HOUR_S + 2 * HOUR_S)
        market.first_ask = market.rest("sell", 8, market.P + 10_000)
        for hour in range(1, 6):
            market.rest("sell", 8, market.P + 10_000 * (hour + 1), hour)
        market.rest("buy", 5, market.P)
        market.buy(market.first_ask, 3, market.P + 10_000, left=5)
        await market.write()
        yield market


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=browser_path(), args=FLAGS)
        yield browser
        await browser.close()


@pytest.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A page whose every script error fails the test."""
    page = await browser.new_page(viewport={"width": 1440, "height": 960})
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    assert errors == []
