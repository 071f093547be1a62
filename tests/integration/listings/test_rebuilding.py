"""PostgreSQL is put back from an older copy, then lost: every sale stands where it stood, and goes on to its end."""

from typing import Any

import pytest

from clients.http import result_of
from tests.api.conftest import problem_of
from tests.integration.delivery.test_rebuilding import copy_database
from tests.integration.listings.conftest import Board, make_database, offer
from tests.integration.listings.test_sales import SHIPMENT

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]
LONG_DAY_MS = 600_000


async def restart(board: Board, url: str) -> None:
    board.settings = board.settings.model_copy(update={"database_url": url, "listings_day_ms": LONG_DAY_MS})
    await board.start()


async def everything(board: Board, ids: list[str]) -> dict[str, Any]:
    """What seller, buyer and everybody see, but for deadlines: a time without the venue lengthens them."""
    seen = {(party, name): await board.sale(party, name) for party in ("seller", "buyer", "judge") for name in ids}
    for sale in seen.values():
        del sale["deadline_ms"]
        sale["history"] = [step for step in sale["history"] if step["step"] != "lengthened"]
    page = result_of(await board.clients["seller"].get("/v1/listings"))
    return seen | {"board": [row["listing_id"] for row in page["listings"]]}


async def test_sales_outlive_a_database_from_an_older_copy_and_one_that_is_lost(board: Board):  # A17
    await board.stop()
    await restart(board, board.settings.database_url)
    offered = await board.listed("seller", 30)
    bought = await board.funded("seller", "buyer", 31)
    await board.stop()
    older = await copy_database(board.settings.database_url)
    await restart(board, board.settings.database_url)
    shipped = await board.post("seller", f"/{bought}/ship", SHIPMENT, "ship")
    result_of(shipped)
    disputed = await board.funded("seller", "buyer", 32)
    result_of(await board.post("buyer", f"/{disputed}/dispute", {"reason": "it never came"}))
    ids = [offered, bought, disputed]
    before = await everything(board, ids)
    await board.stop()
    await restart(board, older)
    assert await everything(board, ids) == before
    await board.stop()
    await restart(board, await make_database(board.settings.database_url))
    assert await everything(board, ids) == before
    again = await board.post("seller", f"/{bought}/ship", SHIPMENT, "ship")
    assert (again.status_code, again.content) == (200, shipped.content)
    other = await board.post("seller", f"/{bought}/ship", SHIPMENT | {"tracking": "SF2"}, "ship")
    assert problem_of(other) == (409, "conflict")
    twice = await board.inspect("seller", 30)

    async def refused() -> str | None:
        code = (await board.post("seller", "", offer(twice))).json()["code"]
        return None if code == "bad_inspection" else code  # the service has not read of it yet

    assert await board.wait_for(refused) == "not_listable"
    result_of(await board.post("buyer", f"/{bought}/receive"))
    result_of(await board.post("buyer", f"/{bought}/accept"))
    await board.in_state("seller", bought, "RELEASED")
    result_of(await board.post("judge", f"/{disputed}/decide", {"outcome": "refund", "reason": "seen"}))
    await board.in_state("buyer", disputed, "WITHDRAWN")
    result_of(await board.post("seller", f"/{offered}/withdraw"))
    await board.in_state("seller", offered, "WITHDRAWN")
