"""The page through the front door: everything comes from one address."""

import asyncio

import pytest
from playwright.async_api import expect

from infra import front_door, processes
from infra.ports import free_port
from infra.settings import InfraSettings
from tests.fixtures.market_data import running_service


@pytest.fixture
def address(shared, servers_folder):
    """The front door before a terminal that is told nothing but market_data's port."""
    with running_service("terminal", servers_folder / "behind", market_data_port=shared.service.port) as terminal:
        asyncio.run(terminal.ready())
        ports = {"market_data_port": shared.service.port, "terminal_port": terminal.port, "front_port": free_port()}
        settings = InfraSettings(data=servers_folder / "behind", **ports)
        program = front_door.prepare(settings)
        process = processes.start(program)
        try:
            processes.wait_ready(program, process, within_s=20)
            yield front_door.url_of(settings)
        finally:
            processes.stop(program, process)


async def test_the_page_follows_the_feed_and_asks_no_other_address(browser, market, address):
    page = await browser.new_page()
    asked, said = set(), []
    page.on("request", lambda request: asked.add("/".join(request.url.split("/")[:3])))
    page.on("websocket", lambda socket: asked.add("/".join(socket.url.split("/")[:3])))
    page.on("console", lambda line: said.append(line.text) if line.type == "error" else None)
    await page.goto(f"{address}/#{market.contract}")
    await expect(page.locator("#quote-name")).to_have_text(market.contract)
    await expect(page.locator("#checksum")).to_have_text("✓ agrees")
    market.rest("sell", 4, market.P + 30_000)
    await market.write()
    await expect(page.locator("#asks tr.ask")).to_have_count(2)
    assert asked == {address, address.replace("http", "ws", 1)}
    assert [line for line in said if "Content Security Policy" in line] == []
