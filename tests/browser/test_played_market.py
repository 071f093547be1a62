"""The page over a market that lives: every panel shows real data, and a newcomer walks from an account to his bill.

CI tier (`slow`): the play takes one to two minutes to start, and the walk waits for a gate, a period and a settlement.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import asyncssh
import pytest
from playwright.async_api import expect

from console.demo.login import why_no_shell
from infra.places import REPOSITORY
from schemas.ids import contract_start_s
from tests.fixtures.played_market import MINUTE, READY, played_market

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
PERIOD_S, SITES = 30, 16
CALM_SEED = 17  # no accident in its first ten minutes, so that a newcomer's delivery is whole
SHARE_MAX_PERCENT = 35  # the play means to stay below 25 with periods of a minute; these have twice the leases
LIVE_PRODUCT = "H100SXM80.CNW.F"  # of a site with an agent of its own, and so with the hook that serves SSH
NOT_BEGUN = 4  # exit status of `hourbook ssh` before the door opens
IMAGE_BYTES, PICTURE_MS = (20_000, 350_000), 90_000
# Where the README's pictures go; elsewhere a test leaves nothing behind.
IMAGES = REPOSITORY / "docs" / "images" if os.environ.get("HOURBOOK_WRITE_IMAGES") else None


@pytest.fixture(scope="module")
def played(servers_folder: Path):
    options = {"--period-s": PERIOD_S, "--sites": SITES, "--seed": CALM_SEED}
    words = [str(word) for option in options.items() for word in option]
    with played_market(servers_folder / "played", *words) as market:
        yield market


@pytest.fixture
async def lively(played, page):
    await page.set_viewport_size({"width": 1440, "height": 900})
    await page.goto(played.page)
    await expect(page.locator("#connection")).to_contain_text("Live")
    return page


async def test_every_panel_shows_something_true_within_ten_seconds_of_ready(played, lively):
    assert READY.search(played.said)["lacking"] is None
    shown = {
        "strip": "#strip [role=option]:not([data-shade='0'])",
        "asks": "#asks tr.ask",
        "bids": "#bids tr.bid",
        "candles": "#chart svg g",
        "trades": "#tape tbody tr.buy",
        "board": "#board tbody tr .state",
        "index": "#index-table tbody th",
    }
    for selector in shown.values():
        await expect(lively.locator(selector)).not_to_have_count(0, timeout=10_000)
    await expect(lively.locator("#checksum")).to_have_text("✓ agrees")
    contract = await lively.locator("#quote-name").text_content()
    assert contract.startswith(played.page.partition("#")[2])


async def test_the_page_shows_every_listing_of_the_board_and_no_other(played, lively):
    before = titles_on_the_board(played)
    for title in before:
        await expect(lively.locator("#board tbody th").filter(has_text=title)).not_to_have_count(0, timeout=10_000)
    shown = set(await lively.locator("#board tbody th").all_text_contents())
    after = titles_on_the_board(played)  # the seller goes on listing meanwhile
    assert before <= shown <= after


def test_a_newcomer_joins_buys_his_first_period_gets_in_and_sees_the_bill(played):
    offer = wait_for(lambda: played.run("join", "neo")["offer"], 60)
    bought = ["order", "place", offer["contract"], "buy", str(offer["qty"]), "--price", offer["price"], "--key", "neo"]
    order = played.run(*bought)["order"]
    assert (order["status"], order["filled_qty"]) == ("filled", offer["qty"])
    (position,) = played.run("positions", "--key", "neo")
    number = position["position_id"]
    access = wait_for(lambda: try_access(played, number), 3 * PERIOD_S + 60)
    assert access["endpoint"] and len(access["gpus"]) == offer["qty"]
    receipt = wait_for(lambda: played.run("receipts", "--key", "neo"), 4 * PERIOD_S + 60)[0]
    assert receipt["position_id"] == number
    assert receipt["contracted_gpu_s"] == offer["qty"] * PERIOD_S
    # Where another buyer had the GPUs until then, opening takes a moment, on a busy machine more than is excused.
    assert receipt["delivered_gpu_s"] + receipt["excused_gpu_s"] >= receipt["contracted_gpu_s"] * 8 // 10
    assert receipt["paid_micros"] > 0
    again = played.run("join", "neo")
    assert again["account"] == "neo"
    balances = {row["asset"]: float(row["total"]) for row in played.run("balance", "--key", "neo")}
    assert all(990 < total <= 1_000 for total in balances.values()), "joining again credits nothing again"


async def test_the_pictures_of_the_readme_are_of_this_market(lively, tmp_path):
    folder = IMAGES or tmp_path
    folder.mkdir(parents=True, exist_ok=True)
    await expect(lively.locator("#tape tbody tr")).not_to_have_count(0)
    pictures = [folder / "market.png", folder / "book.png"]
    await lively.emulate_media(color_scheme="dark")
    await lively.screenshot(path=pictures[0], full_page=True, timeout=PICTURE_MS)
    await lively.emulate_media(color_scheme="light")
    await lively.locator(".columns").first.screenshot(path=pictures[1], timeout=PICTURE_MS)
    for picture in pictures:
        assert IMAGE_BYTES[0] < picture.stat().st_size < IMAGE_BYTES[1]


def test_the_play_takes_no_more_than_its_share_of_a_core_beside_the_exchange(played):
    minute = played.wait_for(MINUTE, 150)
    assert int(minute["trades"]) > 0
    last = MINUTE.findall(played.said)[-1]
    assert int(last[1]) <= SHARE_MAX_PERCENT


def test_a_second_play_in_the_same_folder_is_refused_in_one_line(played):
    command = [sys.executable, "-m", "console", "play"]
    done = subprocess.run(command, cwd=REPOSITORY, env=played.environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("hourbook: an exchange runs in") and done.stderr.count("\n") == 1


def test_a_buyer_of_a_live_site_gets_in_by_ssh_with_a_key_of_his_own_and_out_when_the_play_ends(played, tmp_path):
    if why := why_no_shell():
        pytest.skip(f"no sandbox for the shell hook here: {why}")
    offer = wait_for(lambda: played.run("join", "trinity", "--product", LIVE_PRODUCT)["offer"], 2 * PERIOD_S + 60)
    private = asyncssh.generate_private_key("ssh-ed25519")
    key = tmp_path / "key"
    key.touch(mode=0o600)
    key.write_bytes(private.export_private_key())
    (tmp_path / "key.pub").write_bytes(private.export_public_key())
    played.run("ssh-keys", "add", str(tmp_path / "key.pub"), "--key", "trinity")
    bought = ["order", "place", offer["contract"], "buy", "1", "--price", offer["price"], "--key", "trinity"]
    order = played.run(*bought)["order"]
    assert order["status"] == "filled"
    (position,) = played.run("positions", "--key", "trinity")
    command = [sys.executable, "-m", "console", "ssh", str(position["position_id"]), "-i", str(key)]
    command += ["--key", "trinity", "--", "echo in; ls /; id -un"]
    first = subprocess.run(command, cwd=REPOSITORY, env=played.environment, capture_output=True, text=True)
    assert first.returncode in (NOT_BEGUN, 0), first.stderr
    starts_in_s = contract_start_s(offer["contract"]) - time.time()
    entered = wait_for(lambda: entered_by(command, played.environment), starts_in_s + 2 * PERIOD_S)
    assert entered.splitlines()[0] == "in"
    # The last test here: he is still in when the play ends, after which none of his processes may be left.


def titles_on_the_board(played) -> set[str]:
    return {row["title"] + " · simulated" * bool(row["simulated"]) for row in played.run("listings")}


def try_access(played, number: int) -> dict | None:
    """The buyer's way in once it is open: the endpoint is empty until the operator's hook has run."""
    try:
        found = played.run("access", str(number), "--key", "neo")
    except AssertionError:
        return None
    return found if found.get("endpoint") else None


def entered_by(command: list[str], environment: dict[str, str]) -> str | None:
    """What the session printed, once the door is open."""
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert done.returncode in (NOT_BEGUN, 0), done.stderr
    return done.stdout if done.returncode == 0 else None


def wait_for(condition, within_s: float):
    deadline = time.monotonic() + within_s
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {within_s} s"
        time.sleep(1)
    return answer
