"""The page shows what the feed says, as it happens, to eyes, keyboards and screen readers."""

import gzip
import re
import signal
from pathlib import Path

import pytest
from playwright.async_api import expect

from schemas.topics import LISTINGS_EVENTS
from tests.fixtures.hardware_events import listing_changed

WEB = Path(__file__).resolve().parents[2] / "web"
PAGE_BYTES_MAX = 150_000


@pytest.fixture
def open_page(terminal, market):
    async def open_page(page):
        await page.goto(f"{terminal.url}/#{market.contract}")
        await expect(page.locator("#connection")).to_contain_text("Live")
        await expect(page.locator("#quote-name")).to_have_text(market.contract)
        await expect(page.locator("#asks tr.ask")).not_to_have_count(0)

    return open_page


async def rows(page, selector):
    return await page.locator(selector).evaluate_all("rows => rows.map(row => [...row.cells].map(c => c.textContent))")


async def test_book_tape_candles_and_strip_follow_the_feed(page, market, open_page):
    await open_page(page)
    assert await rows(page, "#asks tr.ask") == [["Ask", "12.85", "5", "5"]]
    assert await rows(page, "#bids tr.bid") == [["Bid", "12.84", "5", "5"]]
    assert [row[1:4] for row in await rows(page, "#tape tbody tr")] == [["▲ Buy", "12.85", "3"]]
    await expect(page.locator("#checksum")).to_have_text("✓ agrees")
    await expect(page.locator("#strip [role=option]")).to_have_count(48)

    market.buy(market.first_ask, 2, market.P + 10_000, left=3)
    market.rest("sell", 4, market.P + 30_000)
    market.rest("sell", 2, market.P - 500_000, hour=7)
    await market.write()
    await expect(page.locator("#asks tr.ask")).to_have_count(2)
    assert await rows(page, "#asks tr.ask") == [["Ask", "12.87", "4", "7"], ["Ask", "12.85", "3", "3"]]
    assert [row[3] for row in await rows(page, "#tape tbody tr")] == ["2", "3"]
    await expect(page.locator("#volume")).to_have_text("5 GPUs · 2 trades")
    await expect(page.locator("#book-seq")).to_have_text(f"{market.seq - 1:,}")
    await expect(page.locator("#checksum")).to_have_text("✓ agrees")
    await expect(page.locator("#strip [role=option]").nth(7)).to_have_attribute(
        "aria-label", re.compile("ask 12.34 CNY")
    )
    candles = await page.locator("#candle-table tbody tr").count()
    assert candles == await page.locator("#chart svg g").count() >= 1


async def test_the_hardware_board_follows_the_feed(page, market, open_page):
    await market.publish(LISTINGS_EVENTS.name, "l1", listing_changed("l1", seq=1).canonical())
    await open_page(page)
    board = page.locator("#board tbody tr")
    await expect(board).to_contain_text(["H100 SXM5, two years of training"])
    assert (await rows(page, "#board tbody tr"))[0][1:] == [
        "H100SXM80",
        "CNE",
        "B · Good",
        "0",
        "150,000.00 CNY",
        "Listed",
    ]
    await market.publish(LISTINGS_EVENTS.name, "l1", listing_changed("l1", seq=2, state="FUNDED").canonical())
    await expect(board.locator("td").last).to_have_text("Funded")


async def test_the_keyboard_alone_reaches_the_strip_and_chooses_an_hour(page, market, open_page):
    await open_page(page)
    for _ in range(20):
        await page.keyboard.press("Tab")
        if await page.evaluate("document.activeElement.id") == "strip":
            break
    await page.keyboard.press("ArrowRight")
    await page.keyboard.press("ArrowRight")
    await expect(page.locator("#quote-name")).to_have_text(market.contracts[2])
    await expect(page.locator("#asks tr.ask th")).to_have_text(["12.87"])
    selected = page.locator("#strip [aria-selected=true]")
    await expect(selected).to_have_attribute("data-contract", market.contracts[2])
    assert await page.locator("#strip").get_attribute("aria-activedescendant") == await selected.get_attribute("id")
    assert await page.evaluate("document.activeElement.id") == "strip"


async def test_quick_keys_each_move_one_step_whether_or_not_a_frame_was_drawn_between(page, market, open_page):
    await open_page(page)
    await page.locator("#strip").focus()
    moves = ["ArrowRight"] * 12 + ["ArrowLeft"] * 5 + ["PageDown", "ArrowRight", "ArrowLeft"]
    await page.evaluate(KEYS_WITHIN_ONE_FRAME, moves)
    await expect(page.locator("#quote-name")).to_have_text(market.contracts[12 - 5 + 12])
    for move in ["Home", *["ArrowRight"] * 20]:
        await page.keyboard.press(move)
    await expect(page.locator("#quote-name")).to_have_text(market.contracts[20])
    selected = page.locator("#strip [aria-selected=true]")
    await expect(selected).to_have_attribute("data-contract", market.contracts[20])


async def test_a_key_after_another_product_was_chosen_never_goes_back_to_the_one_before(page, market, open_page):
    other = market.another()
    other.rest("sell", 3, other.P)
    await other.write()
    await open_page(page)
    await page.locator("#follow").uncheck()
    await page.evaluate(CHOOSE_A_PRODUCT_AND_PRESS_RIGHT, other.product)
    await expect(page.locator("#quote-name")).to_contain_text(f"{other.product}-")
    assert await page.locator("#product").input_value() == other.product


async def test_a_press_and_its_release_over_one_hour_choose_it_though_the_strip_was_drawn_between(
    page, market, open_page
):
    await open_page(page)
    await page.locator("#strip [role=option]").nth(3).hover()
    await page.mouse.down()
    market.rest("sell", 2, market.P - 400_000, hour=3)
    await market.write()
    await expect(page.locator("#strip [role=option]").nth(3)).to_have_attribute("aria-label", re.compile("ask 12.44"))
    await page.mouse.up()
    await expect(page.locator("#quote-name")).to_have_text(market.contracts[3])


async def test_freezing_keeps_the_figures_and_unfreezing_shows_what_came_meanwhile(page, market, open_page):
    await open_page(page)
    freeze = page.locator("#freeze")
    await freeze.click()
    await expect(freeze).to_have_attribute("aria-pressed", "true")
    market.rest("sell", 1, market.P + 20_000)
    await market.write()
    await expect(page.locator("#waiting")).to_contain_text("changes wait")
    assert len(await rows(page, "#asks tr.ask")) == 1
    await freeze.click()
    await expect(page.locator("#asks tr.ask")).to_have_count(2)


async def test_the_page_goes_on_after_market_data_was_killed(page, market, open_page):
    await open_page(page)
    market.service.stop(signal.SIGKILL)
    await expect(page.locator("#connection")).to_contain_text("Connection lost")
    market.rest("sell", 6, market.P + 20_000)
    await market.append()
    market.service.start()
    await market.service.ready()
    await expect(page.locator("#connection")).to_contain_text("Live", timeout=15_000)
    await expect(page.locator("#asks tr.ask")).to_have_count(2)
    await expect(page.locator("#checksum")).to_have_text("✓ agrees")


@pytest.mark.parametrize("scheme", ["dark", "light"])
async def test_text_stands_out_from_its_ground_and_every_control_has_a_name(browser, open_page, scheme):
    page = await browser.new_page(viewport={"width": 1440, "height": 960}, color_scheme=scheme)
    await open_page(page)
    assert await page.evaluate(CONTRASTS_BELOW_4_5) == []
    assert await page.evaluate(CONTROLS_WITHOUT_NAME) == []
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("height", [500, 900, 1400])
async def test_the_status_bar_lies_over_nothing_at_any_height_and_however_far_one_scrolls(browser, open_page, height):
    page = await browser.new_page(viewport={"width": 1440, "height": height})
    await open_page(page)
    for share in (0, 0.5, 1):
        assert await page.evaluate(STATUS_OVER_MAIN_PX, share) <= 0


async def test_a_phone_needs_no_sideways_scrolling(browser, open_page):
    page = await browser.new_page(viewport={"width": 390, "height": 800})
    await open_page(page)
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_whole_page_weighs_no_more_than_it_may():
    weight = sum(len(gzip.compress(path.read_bytes())) for path in WEB.iterdir())
    assert 10_000 < weight <= PAGE_BYTES_MAX


CONTRASTS_BELOW_4_5 = """() => {
  const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = numbers(getComputedStyle(e).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const texts = [...document.querySelectorAll("body *")].filter((e) =>
    !e.closest("select, svg, noscript, .skip") && e.getClientRects().length &&
    [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()));
  return texts.map((e) => {
    const [one, two] = [light(numbers(getComputedStyle(e).color)), light(ground(e))];
    return [e.textContent.trim().slice(0, 30), (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05)];
  }).filter(([, ratio]) => ratio < 4.5);
}"""

CONTROLS_WITHOUT_NAME = """() => [...document.querySelectorAll("button, select, input, [tabindex='0']")]
  .filter((e) => !(e.textContent.trim() && e.tagName === "BUTTON") && !e.labels?.[0]?.textContent.trim()
    && !e.getAttribute("aria-label") && !e.getAttribute("aria-labelledby"))
  .map((e) => e.id)"""

KEYS_WITHIN_ONE_FRAME = """(keys) => keys.forEach((key) =>
  document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true })))"""

CHOOSE_A_PRODUCT_AND_PRESS_RIGHT = """(product) => {
  const select = document.getElementById("product");
  select.value = product;
  select.dispatchEvent(new Event("change", { bubbles: true }));
  const key = new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true, cancelable: true });
  document.getElementById("strip").dispatchEvent(key);
}"""

STATUS_OVER_MAIN_PX = """(share) => {
  scrollTo(0, share * document.documentElement.scrollHeight);
  const [main, status] = ["main", ".status"].map((name) => document.querySelector(name).getBoundingClientRect());
  return Math.round(main.bottom - status.top);
}"""
