"""market_data from the event log to REST, WebSocket and SSE."""

import asyncio
import json
import signal
import time

import asyncpg
import httpx
import pytest
import websockets
from aiokafka import AIOKafkaConsumer

from schemas.market_data import FEED_MESSAGE
from schemas.topics import COMMANDS, DELIVERY_EVENTS, LISTINGS_EVENTS
from services.market_data.books import checksum
from tests.fixtures.event_log import CONTRACT, PRODUCT, EventLog, accepted, gone, traded

P = 12_840_000
NOW_MS = time.time_ns() // 1_000_000


@pytest.fixture
def log():
    log = EventLog(ts_ms=NOW_MS)
    log.open_market()
    log.command(accepted(1, "sell", 8, P + 10_000))
    log.command(accepted(2, "buy", 5, P))
    return log


def trade_some(log, order_id=10):
    log.command(accepted(order_id, "buy", 3, P + 10_000), traded(1, order_id, 3, P + 10_000, left=(5, 0)))


async def subscribe(socket, ch, *syms, **more):
    await socket.send(json.dumps({"op": "subscribe", "ch": ch, "syms": syms or ("*",), **more}))


async def receive(socket, ch, timeout_s=10):
    """Returns the next message of a channel; every message on the way must be one of the models."""
    async with asyncio.timeout(timeout_s):
        while True:
            text = await socket.recv()
            FEED_MESSAGE.validate_json(text)
            message = json.loads(text)
            if message["ch"] == ch:
                return message


async def test_a_reader_gets_the_snapshot_first_and_then_one_delta_per_command(writer, start_market_data, log):
    await writer.write(log)
    async with start_market_data() as service:
        await service.ready()
        async with websockets.connect(service.ws) as socket:
            await subscribe(socket, "book", CONTRACT)
            snapshot = await receive(socket, "book")
            crc = checksum([("12.85", "8"), ("12.84", "5")])
            assert snapshot == {
                "ch": "book",
                "sym": CONTRACT,
                "type": "snapshot",
                "seq": 5,
                "bids": [["12.84", "5"]],
                "asks": [["12.85", "8"]],
                "crc": crc,
            }
            trade_some(log)
            await writer.write(log)
            delta = await receive(socket, "book")
            assert delta == {
                "ch": "book",
                "sym": CONTRACT,
                "type": "delta",
                "prev_seq": 5,
                "seq": 7,
                "bids": [],
                "asks": [["12.85", "5"]],
                "crc": checksum([("12.85", "5"), ("12.84", "5")]),
            }
            beat = await receive(socket, "hb")
            assert (beat["seq"], beat["last_seq"]) == ({CONTRACT: 7}, 7)
        book = await service.get(f"/v1/book/{CONTRACT}")
        assert (book["seq"], book["asks"], book["crc"]) == (7, [["12.85", "5"]], delta["crc"])


async def test_every_public_channel_starts_with_a_snapshot_and_goes_on(writer, start_market_data, log):
    await writer.write(log)
    async with start_market_data() as service:
        await service.ready()
        async with websockets.connect(service.ws) as socket:
            for ch, sym in (("trades", PRODUCT), ("ticker", CONTRACT), ("candles", CONTRACT), ("curve", PRODUCT)):
                await subscribe(socket, ch, sym)
                assert (await receive(socket, ch))["type"] == "snapshot"
            for ch in ("index", "status"):
                await subscribe(socket, ch, PRODUCT)
                assert (await receive(socket, ch))["type"] == "snapshot"
            trade_some(log)
            index = {"contract": CONTRACT, "index_micros": P, "level": 5, "method": "HBX-1", "inputs_digest": "0" * 64}
            log.command(("IndexSet", index))
            log.command(("ProductStateChanged", {"product": PRODUCT, "state": "HALTED", "reason": "test"}))
            await writer.write(log)
            got = {}
            while len(got) < 6:
                message = json.loads(await asyncio.wait_for(socket.recv(), 10))
                if message["ch"] in ("trades", "ticker", "candles", "curve", "index", "status"):
                    got.setdefault(message["ch"], message)
        assert got["trades"]["trade"]["price"] == "12.85"
        assert (got["ticker"]["ticker"]["last"], got["ticker"]["ticker"]["qty"]) == ("12.85", "3")
        assert (got["candles"]["candle"]["close"], got["candles"]["candle"]["final"]) == ("12.85", False)
        assert got["curve"]["points"][0]["ask_qty"] == "5"
        assert (got["index"]["value"]["index"], got["index"]["value"]["stale"]) == ("12.84", True)
        assert got["status"]["status"]["state"] == "HALTED"


async def test_a_reader_that_comes_back_gets_what_it_missed_or_a_resync(writer, start_market_data, log):
    await writer.write(log)
    async with start_market_data() as service:
        await service.ready()
        trade_some(log)
        log.command(gone("OrderCanceled", 2, "buy", 5, P))
        await writer.write(log)
        while (await service.get(f"/v1/book/{CONTRACT}"))["seq"] < 8:
            await asyncio.sleep(0.05)
        async with websockets.connect(service.ws) as socket:
            await subscribe(socket, "book", CONTRACT, from_seq=5)
            deltas = [await receive(socket, "book") for _ in range(2)]
            assert [(d["type"], d["prev_seq"], d["seq"]) for d in deltas] == [("delta", 5, 7), ("delta", 7, 8)]
    async with start_market_data(market_data_ring_span_ms=0) as service:
        await service.ready()
        async with websockets.connect(service.ws) as socket:
            await subscribe(socket, "book", CONTRACT, from_seq=5)
            snapshot = await receive(socket, "book")
            assert (snapshot["type"], snapshot["seq"], snapshot["resync"]) == ("snapshot", 8, True)


async def test_the_ring_is_filled_from_the_log_when_the_service_starts(writer, start_market_data, log):
    trade_some(log)
    await writer.write(log)
    async with start_market_data() as service:
        await service.ready()
        async with websockets.connect(service.ws) as socket:
            await subscribe(socket, "book", CONTRACT, from_seq=4)
            deltas = [await receive(socket, "book") for _ in range(2)]
    assert [(d["prev_seq"], d["seq"]) for d in deltas] == [(4, 5), (5, 7)]


async def test_a_slow_reader_is_closed_with_a_code_and_its_last_sequence(writer, start_market_data, log):
    await writer.write(log)
    async with start_market_data(market_data_reader_messages_max=50) as service:
        await service.ready()
        async with websockets.connect(service.ws, max_queue=1) as socket:
            await subscribe(socket, "curve", PRODUCT)
            await subscribe(socket, "book", CONTRACT)
            await receive(socket, "book")
            await flood(writer, log)
            with pytest.raises(websockets.ConnectionClosed) as closed:
                async for _ in endless():
                    await socket.recv()
        assert closed.value.rcvd.code == 4008
        assert closed.value.rcvd.reason.startswith("slow_reader seq=")


async def test_a_slow_reader_that_asked_for_it_is_conflated(writer, start_market_data, log):
    await writer.write(log)
    async with start_market_data(market_data_reader_messages_max=50) as service:
        await service.ready()
        async with websockets.connect(service.ws, max_queue=1) as socket:
            await subscribe(socket, "book", CONTRACT, conflate=True)
            await receive(socket, "book")
            await flood(writer, log)
            message = await receive(socket, "book")
            conflated, last = False, message["seq"]
            while last < len(log.events):
                message = await receive(socket, "book")
                if message["type"] == "delta":
                    assert message["prev_seq"] == last
                else:
                    conflated = conflated or message.get("conflated", False)
                last = message["seq"]
        assert conflated
        assert message["crc"] == (await service.get(f"/v1/book/{CONTRACT}"))["crc"]


async def endless():
    while True:
        yield


async def flood(writer, log, commands=15_000):
    for n in range(commands):
        log.command(accepted(1000 + n, "buy", 1, P - 10_000 * (n % 400 + 1)))
    await writer.write(log)
    await asyncio.sleep(1)


async def test_a_bad_request_is_answered_and_the_socket_stays(writer, start_market_data, log):
    await writer.write(log)
    async with start_market_data() as service:
        await service.ready()
        async with websockets.connect(service.ws) as socket:
            await socket.send("no json")
            assert (await receive(socket, "error"))["code"] == "malformed_request"
            await subscribe(socket, "book", "H100SXM80.CNE.F-20010101", id="a")
            problem = await receive(socket, "error")
            assert (problem["code"], problem["id"]) == ("unknown_symbol", "a")
            await subscribe(socket, "candles", CONTRACT, interval="7m")
            assert (await receive(socket, "error"))["code"] == "unknown_interval"
            await subscribe(socket, "book", CONTRACT, id="b")
            assert (await receive(socket, "book"))["type"] == "snapshot"
            assert (await receive(socket, "ack"))["id"] == "b"


async def test_server_sent_events_resume_by_last_event_id(writer, start_market_data, log):
    trade_some(log)
    await writer.write(log)
    async with start_market_data() as service:
        await service.ready()
        url = f"{service.url}/v1/sse"
        async with httpx.AsyncClient() as client:
            headers = {"Last-Event-ID": "5"}
            async with client.stream("GET", url, params={"stream": f"book:{CONTRACT}"}, headers=headers) as response:
                lines = response.aiter_lines()
                assert await anext(lines) == "id: 7"
            refused = await client.get(url, params={"stream": "book:H100SXM80.CNE.F-20010101"})
            assert (refused.status_code, refused.json()["code"]) == (404, "not_found")
            refused = await client.get(url, params={"stream": ["listings:*", f"book:{CONTRACT}"]})
            assert (refused.status_code, refused.json()["code"]) == (400, "malformed_request")


async def test_the_index_is_fixed_once_at_the_gate_and_survives_a_kill(
    writer, start_market_data, log, own_kafka, fresh_database
):
    trade_some(log)
    locked = ("ContractStateChanged", {"contract": CONTRACT, "state": "LOCKED", "positions": 1})
    log.command(locked, ts_ms=NOW_MS + 1000)
    await writer.write(log)
    async with start_market_data() as service:
        await service.ready()
        first = await privileged_batches(own_kafka.address, 1)
        await service.stop(signal.SIGKILL)
    connection = await asyncpg.connect(fresh_database)
    await connection.execute("drop schema market_data cascade")
    await connection.close()
    async with start_market_data() as service:
        await service.ready()
        again = await privileged_batches(own_kafka.address, 2)
    assert again == [*first, *first]
    assert (first[0]["source"], first[0]["number"]) == ("market_data", 1)
    (command,) = first[0]["commands"]
    assert (command["type"], command["contract"], command["level"]) == ("index_fixed", CONTRACT, 5)
    assert command["index_micros"] == P + 10_000


async def privileged_batches(kafka, count):
    consumer = AIOKafkaConsumer(COMMANDS.name, bootstrap_servers=kafka, auto_offset_reset="earliest")
    await consumer.start()
    try:
        return [json.loads((await asyncio.wait_for(consumer.getone(), 10)).value) for _ in range(count)]
    finally:
        await consumer.stop()


async def contents(url):
    connection = await asyncpg.connect(url)
    tables = ("trade", "candle", "index_value", "relayed")
    rows = {table: sorted(map(tuple, await connection.fetch(f"select * from market_data.{table}"))) for table in tables}
    await connection.close()
    return rows


async def test_a_dropped_schema_is_rebuilt_to_the_same_content(writer, start_market_data, log, fresh_database):
    for n in range(40):
        maker, taker = 100 + 2 * n, 101 + 2 * n
        log.command(accepted(maker, "sell", 2, P + 10_000 * n), ts_ms=NOW_MS + 7_000 * n)
        log.command(
            accepted(taker, "buy", 2, P + 10_000 * n),
            traded(maker, taker, 1, P + 10_000 * n, left=(1, 1)),
            traded(maker, taker, 1, P + 10_000 * n, left=(0, 0), trade_id=10**9 + n),
        )
    index = {"contract": CONTRACT, "index_micros": P, "level": 5, "method": "HBX-1", "inputs_digest": "0" * 64}
    log.command(("IndexSet", index))
    await writer.write(log)
    await writer.publish(LISTINGS_EVENTS.name, "l1", listing(seq=1))
    async with start_market_data() as service:
        await service.ready()
        await until(lambda: contents(fresh_database), lambda c: len(c["trade"]) == 80 and len(c["relayed"]) == 1)
        before = await contents(fresh_database)
        trades = await service.get("/v1/trades", contract=CONTRACT, limit=30)
        candles = await service.get("/v1/candles", sym=PRODUCT, interval="1m")
    connection = await asyncpg.connect(fresh_database)
    await connection.execute("drop schema market_data cascade")
    await connection.close()
    async with start_market_data() as service:
        await service.ready()
        await until(lambda: contents(fresh_database), lambda c: len(c["relayed"]) == 1)
        assert await contents(fresh_database) == before
    assert len(trades["items"]) == 30
    assert trades["cursor"] == str(trades["items"][-1]["seq"])
    assert [c["final"] for c in candles["items"]] == [False, *[True] * (len(candles["items"]) - 1)]
    assert sum(int(c["qty"]) for c in candles["items"]) == 80


async def until(read, holds, timeout_s=15):
    async with asyncio.timeout(timeout_s):
        while not holds(await read()):
            await asyncio.sleep(0.1)


def listing(seq, state="LISTED"):
    return json.dumps(
        {
            "type": "listing_changed",
            "seq": seq,
            "ts_ms": NOW_MS,
            "listing_id": "l1",
            "state": state,
            "kind": "module",
            "title": "H100 SXM5",
            "grade": "H100SXM80",
            "hub": "CNE",
            "condition": "B",
            "price_micros": 150_000_000_000,
            "currency": "CNY",
            "gpus": [],
            "inspection_id": "0" * 64,
            "note": "",
        }
    ).encode()


async def test_hardware_and_deliveries_are_relayed_without_what_is_private(writer, start_market_data, log):
    await writer.write(log)
    node = {"ts_ms": NOW_MS, "node": "node-1"}
    admitted = {"type": "node_enrolled", "seq": 1, **node, "account": "secret", "grade": "H100SXM80", "hub": "CNE"}
    receipt = {"type": "receipt_issued", "seq": 2, **node, "position_id": 1, "contract": CONTRACT, "revision": 1}
    lease = {"type": "lease_started", "seq": 3, **node, "lease_id": "secret", "contract": CONTRACT, "gpus": []}
    async with start_market_data() as service:
        await service.ready()
        async with websockets.connect(service.ws) as socket:
            await subscribe(socket, "listings")
            await subscribe(socket, "delivery")
            assert (await receive(socket, "listings"))["items"] == []
            assert (await receive(socket, "delivery"))["items"] == []
            await writer.publish(LISTINGS_EVENTS.name, "l1", b"broken")
            await writer.publish(LISTINGS_EVENTS.name, "l1", listing(seq=4))
            item = await receive(socket, "listings")
            assert (item["seq"], item["item"]["state"]) == (4, "LISTED")
            for event in ({**admitted, "gpus": []}, {**receipt, "meter_digest": "0" * 64}, lease):
                await writer.publish(DELIVERY_EVENTS.name, "node-1", json.dumps(event).encode())
            first, second = [await receive(socket, "delivery") for _ in range(2)]
            assert first["item"] == {"type": "node_enrolled", "seq": 1, **node, "grade": "H100SXM80", "hub": "CNE"}
            assert second["item"] == {"type": "lease_started", "seq": 3, **node, "contract": CONTRACT}


async def test_no_answer_names_an_account(writer, start_market_data, log):
    trade_some(log)
    await writer.write(log)
    async with start_market_data() as service:
        await service.ready()
        async with httpx.AsyncClient(base_url=service.url) as client:
            paths = ["/v1/products", "/v1/contracts", f"/v1/book/{CONTRACT}", "/v1/trades", f"/v1/curve/{PRODUCT}"]
            paths += [f"/v1/ticker?contract={CONTRACT}", f"/v1/candles?sym={CONTRACT}", f"/v1/index?product={PRODUCT}"]
            answers = [await client.get(path) for path in paths]
        assert [answer.status_code for answer in answers] == [200] * len(paths)
        assert "secret" not in "".join(answer.text for answer in answers)


async def test_unknown_names_are_problem_documents(writer, start_market_data, log):
    await writer.write(log)
    async with start_market_data() as service:
        await service.ready()
        async with httpx.AsyncClient(base_url=service.url) as client:
            paths = ["/v1/book/H100SXM80.CNE.F-20010101", "/v1/book/nonsense", "/v1/curve/NONE.CNE.F", "/v1/ticker"]
            answers = [await client.get(path) for path in paths]
        assert [(a.status_code, a.json()["code"]) for a in answers] == [
            (404, "not_found"),
            (400, "malformed_request"),
            (404, "not_found"),
            (400, "malformed_request"),
        ]
        assert {a.headers["content-type"] for a in answers} == {"application/problem+json"}


async def test_contracts_come_in_pages(writer, start_market_data, log):
    await writer.write(log)
    async with start_market_data() as service:
        await service.ready()
        first = await service.get("/v1/contracts", product=PRODUCT, state="OPEN", limit=30)
        rest = await service.get("/v1/contracts", product=PRODUCT, state="OPEN", limit=30, cursor=first["cursor"])
    assert [len(first["items"]), len(rest["items"]), "cursor" in rest] == [30, 18, False]
    assert first["items"][0]["contract"] == CONTRACT
