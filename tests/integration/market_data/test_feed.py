"""The feed and REST of one running market_data; each test has a product of its own."""

import asyncio
import json
import socket
import time

import httpx
import pytest
import websockets

from schemas.market_data import FEED_MESSAGE
from schemas.topics import DELIVERY_EVENTS, LISTINGS_EVENTS
from services.market_data.books import checksum
from tests.fixtures.hardware_events import listing_changed

NOWHERE = "H100SXM80.CNE.F-20010101"
ZERO_DIGEST = "0" * 64


async def subscribe(feed, ch, *syms, **more):
    await feed.send(json.dumps({"op": "subscribe", "ch": ch, "syms": syms or ("*",), **more}))


async def receive(feed, ch, timeout_s=15):
    """Returns the next message of a channel; every message on the way must be one of the models."""
    async with asyncio.timeout(timeout_s):
        while True:
            text = await feed.recv()
            FEED_MESSAGE.validate_json(text)
            message = json.loads(text)
            if message["ch"] == ch:
                return message


@pytest.fixture
async def feed(corner):
    async with websockets.connect(corner.service.ws) as feed:
        yield feed


@pytest.fixture
def ask(corner):
    return corner.rest("sell", 8, corner.P + 10_000)


@pytest.fixture
def bid(corner):
    return corner.rest("buy", 5, corner.P)


async def test_a_reader_gets_the_snapshot_first_and_then_one_delta_per_command(corner, feed, ask, bid):
    await corner.write()
    before = corner.seq
    await subscribe(feed, "book", corner.contract)
    assert await receive(feed, "book") == {
        "ch": "book",
        "sym": corner.contract,
        "type": "snapshot",
        "seq": before,
        "bids": [["12.84", "5"]],
        "asks": [["12.85", "8"]],
        "crc": checksum([("12.85", "8"), ("12.84", "5")]),
    }
    corner.buy(ask, 3, corner.P + 10_000, left=5)
    await corner.write()
    delta = await receive(feed, "book")
    assert delta == {
        "ch": "book",
        "sym": corner.contract,
        "type": "delta",
        "prev_seq": before,
        "seq": before + 2,
        "bids": [],
        "asks": [["12.85", "5"]],
        "crc": checksum([("12.85", "5"), ("12.84", "5")]),
    }
    beat = await receive(feed, "hb")
    assert (beat["seq"], beat["last_seq"]) == ({corner.contract: before + 2}, before + 2)
    book = await corner.service.get(f"/v1/book/{corner.contract}")
    assert (book["seq"], book["asks"], book["crc"]) == (before + 2, [["12.85", "5"]], delta["crc"])


async def test_every_channel_starts_with_a_snapshot_and_goes_on(corner, feed, ask):
    await corner.write()
    contract, product = corner.contract, corner.product
    streams = {"trades": product, "ticker": contract, "candles": contract, "curve": product}
    for ch, sym in (streams | {"index": product, "status": product}).items():
        await subscribe(feed, ch, sym)
        assert (await receive(feed, ch))["type"] == "snapshot"
    corner.buy(ask, 3, corner.P + 10_000, left=5)
    index = {"index_micros": corner.P, "level": 5, "method": "HBX-1", "inputs_digest": ZERO_DIGEST}
    corner.event("IndexSet", contract=contract, **index)
    corner.event("ProductStateChanged", product=product, state="HALTED", reason="test")
    await corner.write()
    got = {}
    while len(got) < 6:
        message = json.loads(await asyncio.wait_for(feed.recv(), 15))
        if message["ch"] != "hb":
            got.setdefault(message["ch"], message)
    assert got["trades"]["trade"]["price"] == "12.85"
    assert (got["ticker"]["ticker"]["last"], got["ticker"]["ticker"]["qty"]) == ("12.85", "3")
    assert (got["candles"]["candle"]["close"], got["candles"]["candle"]["final"]) == ("12.85", False)
    assert got["curve"]["points"][0]["ask_qty"] == "5"
    assert (got["index"]["value"]["index"], got["index"]["value"]["stale"]) == ("12.84", True)
    assert got["status"]["status"]["state"] == "HALTED"


async def test_a_reader_who_comes_back_gets_what_he_missed(corner, feed, ask, bid):
    await corner.write()
    before = corner.seq
    corner.buy(ask, 3, corner.P + 10_000, left=5)
    corner.cancel(bid, "buy", 5, corner.P)
    await corner.write()
    await subscribe(feed, "book", corner.contract, from_seq=before)
    deltas = [await receive(feed, "book") for _ in range(2)]
    assert [(d["type"], d["prev_seq"], d["seq"]) for d in deltas] == [
        ("delta", before, before + 2),
        ("delta", before + 2, before + 3),
    ]


@pytest.mark.parametrize("beyond", [1, 1_000_000, 2**62])
async def test_f05_a_place_that_the_feed_has_not_come_to_is_answered_with_a_resync(corner, feed, ask, beyond):
    await corner.write()
    place = corner.seq + beyond
    for ch, sym in {"book": corner.contract, "trades": corner.product, "status": "*", "delivery": "*"}.items():
        await subscribe(feed, ch, sym, from_seq=place)
        snapshot = await receive(feed, ch)
        assert (snapshot["type"], snapshot["resync"], snapshot["seq"] < place) == ("snapshot", True, True), ch
    url, headers = f"{corner.service.url}/v1/sse?stream=book:{corner.contract}", {"Last-Event-ID": f"{place}"}
    async with httpx.AsyncClient() as client, client.stream("GET", url, headers=headers) as sse:
        lines = sse.aiter_lines()
        assert await anext(lines) == f"id: {(await corner.service.get(f'/v1/book/{corner.contract}'))['seq']}"
        assert json.loads((await anext(lines)).removeprefix("data: "))["resync"] is True


async def test_f06_paging_loses_no_contract_when_a_gate_passes_between_two_pages(corner, ask):
    await corner.write()

    async def page(cursor: dict) -> dict:
        return await corner.service.get("/v1/contracts", product=corner.product, state="OPEN", limit=10, **cursor)

    first = await page({})
    for contract in (corner.contracts[0], corner.contracts[9], corner.contracts[20]):
        corner.event("ContractStateChanged", contract=contract, state="LOCKED", positions=0)
    await corner.write()
    found = first["items"]
    cursor = first["cursor"]
    while cursor:
        following = await page({"cursor": cursor})
        found, cursor = found + following["items"], following["cursor"]
    assert [each["contract"] for each in found] == [each for each in corner.contracts if each != corner.contracts[20]]
    assert (await page({"cursor": first["cursor"]}))["items"] == found[10:20]


async def test_a_bad_request_is_answered_and_the_socket_stays(corner, feed, ask):
    await corner.write()
    await feed.send("no json")
    assert (await receive(feed, "error"))["code"] == "malformed_request"
    await feed.send(b'{"op":"subscribe","ch":"book","syms":[7],"id":"wrong"}')
    assert (await receive(feed, "error"))["id"] == "wrong"  # F20
    await feed.send(b"\xff")
    assert (await receive(feed, "error"))["code"] == "malformed_request"
    await subscribe(feed, "book", NOWHERE, id="a")
    problem = await receive(feed, "error")
    assert (problem["code"], problem["id"]) == ("unknown_symbol", "a")
    await subscribe(feed, "candles", corner.contract, interval="7m")
    assert (await receive(feed, "error"))["code"] == "unknown_interval"
    await subscribe(feed, "book", corner.contract, id="b")
    assert (await receive(feed, "book"))["type"] == "snapshot"
    assert (await receive(feed, "ack"))["id"] == "b"


async def test_server_sent_events_resume_by_last_event_id(corner, ask):
    await corner.write()
    before = corner.seq
    corner.buy(ask, 3, corner.P + 10_000, left=5)
    await corner.write()
    url, stream = f"{corner.service.url}/v1/sse", {"stream": f"book:{corner.contract}"}
    async with httpx.AsyncClient() as client:
        async with client.stream("GET", url, params=stream, headers={"Last-Event-ID": str(before)}) as response:
            lines = response.aiter_lines()
            assert await anext(lines) == f"id: {before + 2}"
            assert json.loads((await anext(lines)).removeprefix("data: "))["prev_seq"] == before
        unknown = await client.get(url, params={"stream": f"book:{NOWHERE}"})
        mixed = await client.get(url, params={"stream": ["listings:*", f"book:{corner.contract}"]})
    assert [(a.status_code, a.json()["code"]) for a in (unknown, mixed)] == [
        (404, "not_found"),
        (400, "malformed_request"),
    ]


async def test_hardware_and_deliveries_are_relayed_without_what_is_private(corner, feed):
    await corner.write()
    node = {"ts_ms": time.time_ns() // 1_000_000, "node": "node-1"}
    admitted = {"type": "node_enrolled", "seq": 1, **node, "account": "secret", "grade": "H100SXM80", "hub": "CNE"}
    receipt = {"type": "receipt_issued", "seq": 2, **node, "position_id": 1, "contract": corner.contract, "revision": 1}
    lease = {"type": "lease_started", "seq": 3, **node, "lease_id": "secret", "contract": corner.contract, "gpus": []}
    lease["simulated"] = True
    for ch in ("listings", "delivery"):
        await subscribe(feed, ch)
        assert (await receive(feed, ch))["items"] == []
    await corner.publish(LISTINGS_EVENTS.name, "l1", b"broken")
    await corner.publish(LISTINGS_EVENTS.name, "l1", listing_changed("l1", seq=4).canonical())
    item = await receive(feed, "listings")
    assert (item["seq"], item["item"]["listing_id"], item["item"]["state"]) == (4, "l1", "LISTED")
    for event in ({**admitted, "gpus": []}, {**receipt, "meter_digest": ZERO_DIGEST}, lease):
        await corner.publish(DELIVERY_EVENTS.name, "node-1", json.dumps(event).encode())
    first, second = [await receive(feed, "delivery") for _ in range(2)]
    real, played = {**node, "simulated": False}, {**node, "simulated": True}
    assert first["item"] == {"type": "node_enrolled", "seq": 1, **real, "grade": "H100SXM80", "hub": "CNE"}
    assert second["item"] == {"type": "lease_started", "seq": 3, **played, "contract": corner.contract}


async def test_no_answer_names_an_account(corner, ask):
    corner.buy(ask, 3, corner.P + 10_000, left=5)
    await corner.write()
    contract, product = corner.contract, corner.product
    paths = ["/v1/products", f"/v1/contracts?product={product}", f"/v1/book/{contract}", f"/v1/trades?sym={product}"]
    paths += [f"/v1/curve/{product}", f"/v1/ticker?sym={contract}", f"/v1/candles?sym={contract}"]
    async with httpx.AsyncClient(base_url=corner.service.url) as client:
        answers = [await client.get(path) for path in (*paths, f"/v1/index?product={product}", "/v1/trades")]
    assert [answer.status_code for answer in answers] == [200] * 9
    assert contract in answers[2].text
    assert "secret" not in "".join(answer.text for answer in answers)


async def test_unknown_names_are_problem_documents(corner):
    await corner.write()
    paths = [f"/v1/book/{NOWHERE}", "/v1/book/nonsense", "/v1/curve/NONE.CNE.F", "/v1/ticker"]
    async with httpx.AsyncClient(base_url=corner.service.url) as client:
        answers = [await client.get(path) for path in paths]
    assert [(a.status_code, a.json()["code"]) for a in answers] == [
        (404, "not_found"),
        (400, "malformed_request"),
        (404, "not_found"),
        (400, "malformed_request"),
    ]
    assert {a.headers["content-type"] for a in answers} == {"application/problem+json"}


async def test_lists_come_in_pages_with_a_cursor_that_ends_in_null(corner, ask):
    for left in (5, 2):
        corner.buy(ask, 3, corner.P + 10_000, left=left)
    await corner.write()
    get, product = corner.service.get, corner.product
    first = await get("/v1/contracts", product=product, state="OPEN", limit=30)
    rest = await get("/v1/contracts", product=product, state="OPEN", limit=30, cursor=first["cursor"])
    assert [len(first["items"]), len(rest["items"]), rest["cursor"]] == [30, 18, None]
    assert first["items"][0]["contract"] == corner.contract
    newest = await get("/v1/trades", sym=product, limit=1)
    older = await get("/v1/trades", sym=product, limit=2, cursor=newest["cursor"])
    assert [t["seq"] for t in (*newest["items"], *older["items"])] == [corner.seq, corner.seq - 2]
    assert older["cursor"] is None


async def flood(corner, orders=3_000):
    for n in range(orders):
        corner.rest("buy", 1, corner.P - 10_000 * (n % 400 + 1))
    await corner.write()


async def slow_connection(corner):
    """A socket whose buffers are so small that the service soon notices that nobody reads."""
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32_768)
    narrow.connect(("127.0.0.1", corner.service.port))
    return await websockets.connect(corner.service.ws, sock=narrow, max_queue=1, compression=None, close_timeout=0.5)


async def test_a_slow_reader_is_closed_with_a_code_and_its_last_sequence(corner):
    await corner.write()
    async with await slow_connection(corner) as feed:
        for ch in ("book", "ticker"):
            await subscribe(feed, ch, corner.contract)
        await receive(feed, "ticker")
        await flood(corner)
        seqs = []
        with pytest.raises(websockets.ConnectionClosed) as closed:
            while True:
                seqs.append(json.loads(await feed.recv()).get("seq"))
    assert closed.value.rcvd.code == 4008
    last = int(closed.value.rcvd.reason.removeprefix("slow_reader seq="))
    assert last == max(seq for seq in seqs if isinstance(seq, int)) < corner.seq


async def test_a_slow_reader_who_asked_for_it_is_conflated(corner):
    await corner.write()
    async with await slow_connection(corner) as feed:
        await subscribe(feed, "ticker", corner.contract, conflate=True)
        await subscribe(feed, "book", corner.contract)
        message = await receive(feed, "book")
        await flood(corner)
        conflated, last = False, message["seq"]
        while last < corner.seq:
            message = await receive(feed, "book")
            if message["type"] == "delta":
                assert message["prev_seq"] == last
            else:
                conflated = conflated or message.get("conflated", False)
            last = message["seq"]
    assert conflated
    assert message["crc"] == (await corner.service.get(f"/v1/book/{corner.contract}"))["crc"]
