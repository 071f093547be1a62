"""Replacing, batches, icebergs, expiries and dead-man timers over HTTP and WebSocket on a real log."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import websockets

from schemas.venue import SetAccountLimits
from tests.integration.gateway.conftest import contract_in
from tests.integration.gateway.test_order_entry import bid


def in_seconds(seconds: float) -> str:
    moment = datetime.now(UTC) + timedelta(seconds=seconds)
    return moment.replace(microsecond=0).isoformat()


async def join(venue):
    alice = await venue.join("alice", "read", "trade", money=100_000_000)
    operator = await venue.join("op", "read", "trade", "operate", money=100_000_000)
    await venue.add_node("n1", "op")
    return alice, operator


def ask(qty: int, price: str, **changes) -> dict:
    return bid(qty, price, side="sell", node="n1") | changes


async def test_a_replace_says_whether_the_order_kept_its_place_and_one_that_crosses_trades(venue):
    alice, operator = await join(venue)
    await operator.post("/v1/orders", json=ask(4, "3.00"))
    first = (await alice.post("/v1/orders", json=bid(6, "2.00", client_order_id="a"))).json()["order"]

    fewer = (await alice.patch(f"/v1/orders/{first['order_id']}", json={"qty": 5})).json()
    assert (fewer["priority_kept"], fewer["order"]["qty"], fewer["order"]["remaining_qty"]) == (True, 5, 5)
    named = {"params": {"client_order_id": "a"}}
    dearer = (await alice.patch("/v1/orders", json={"price": "3.00", "replace_id": "b"}, **named)).json()
    assert (dearer["priority_kept"], dearer["order"]["status"]) == (False, "partially_filled")
    assert [(fill["qty"], fill["price"]) for fill in dearer["fills"]] == [(4, "3.00")]
    again = await alice.patch("/v1/orders", json={"price": "3.00", "replace_id": "b"}, **named)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (200, "true")
    assert again.json()["order"]["remaining_qty"] == 1
    other = await alice.patch("/v1/orders", json={"price": "2.50", "replace_id": "b"}, **named)
    assert (other.status_code, other.json()["code"]) == (409, "client_order_id_conflict")
    repeated = await alice.post("/v1/orders", json=bid(6, "2.00", client_order_id="a"))
    assert (repeated.status_code, repeated.json()["order"]["order_id"]) == (200, first["order_id"])


async def test_a_replace_that_cannot_be_paid_leaves_the_order_as_it_stood(venue):
    alice, _ = await join(venue)
    first = (await alice.post("/v1/orders", json=bid(6, "2.00"))).json()["order"]
    refused = await alice.patch(f"/v1/orders/{first['order_id']}", json={"price": "1000.00"})
    assert (refused.status_code, refused.json()["code"]) == (422, "insufficient_funds")
    stands = (await alice.get(f"/v1/orders/{first['order_id']}")).json()
    assert (stands["price"], stands["remaining_qty"], stands["status"]) == ("2.00", 6, "new")
    balances = (await alice.get("/v1/balances")).json()["items"]
    assert [(each["available"], each["held"]) for each in balances] == [("88.00", "12.00")]
    missing = await alice.patch("/v1/orders/999", json={"qty": 1})
    assert (missing.status_code, missing.json()["code"]) == (404, "unknown_order")


async def test_a_batch_answers_every_member_as_a_request_of_its_own_would_be(venue):
    alice, operator = await join(venue)
    await operator.post("/v1/orders", json=ask(2, "3.00"))
    old = (await alice.post("/v1/orders", json=bid(1, "1.00"))).json()["order"]
    members = [
        {"op": "place", "order": bid(1, "3.00", client_order_id="m1")},
        {"op": "place", "order": bid(1, "1000.00", client_order_id="m2")},
        {"op": "replace", "order_id": old["order_id"], "qty": 2},
        {"op": "cancel", "order_id": old["order_id"]},
        {"op": "cancel", "client_order_id": "nobody"},
        {"op": "place", "order": bid(9, "3.00", tif="FOK", client_order_id="m3")},
    ]
    answer = await alice.post("/v1/orders/batch", json={"members": members})
    results = answer.json()["results"]
    assert [each["status"] for each in results] == [201, 422, 200, 200, 404, 422]
    assert (results[0]["order"]["status"], results[0]["fills"][0]["qty"]) == ("filled", 1)
    assert [results[place]["problem"]["code"] for place in (1, 4, 5)] == [
        "insufficient_funds",
        "unknown_order",
        "fok_not_filled",
    ]
    assert results[5]["problem"]["why_unfilled"]["missing_gpus"] == 8
    assert (results[2]["priority_kept"], results[3]["orders"][0]["order_id"]) == (False, old["order_id"])
    again = (await alice.post("/v1/orders/batch", json={"members": members[:2]})).json()["results"]
    assert [(each["status"], each["replayed"]) for each in again] == [(200, True), (422, True)]


async def test_an_order_shows_its_expiry_and_display_and_ends_by_its_own_time(venue):
    alice, operator = await join(venue)
    form = ask(6, "3.00", tif="GTD", expires=in_seconds(3), display_qty=2, stp="cancel_oldest")
    order = (await operator.post("/v1/orders", json=form)).json()["order"]
    assert (order["tif"], order["display_qty"], order["stp"]) == ("GTD", 2, "cancel_oldest")
    assert order["expires"][:19] == form["expires"][:19]
    small = await alice.post("/v1/orders", json=bid(7, "3.00", tif="IOC", min_qty=7))
    assert (small.status_code, small.json()["code"]) == (422, "min_qty_not_filled")
    assert small.json()["why_unfilled"] == {"reason": "no_liquidity", "best_price": "3.00", "missing_gpus": 1}
    late = await alice.post("/v1/orders", json=bid(tif="GTD", expires=in_seconds(6 * 3600)))
    assert (late.status_code, late.json()["code"]) == (422, "bad_expiry")
    async with asyncio.timeout(15):
        while (ended := (await operator.get(f"/v1/orders/{order['order_id']}")).json())["status"] == "new":
            await asyncio.sleep(0.1)
    assert (ended["status"], ended["reason"]) == ("expired", "expiry")


async def test_a_silent_session_loses_its_orders_and_one_that_disarms_does_not(venue):
    alice, _ = await join(venue)
    order = (await alice.post("/v1/orders", json=bid())).json()["order"]
    armed = (await alice.post("/v1/cancel-all-after", json={"timeout_s": 2})).json()
    disarmed = (await alice.post("/v1/cancel-all-after", json={"timeout_s": 0})).json()
    assert (armed["session"], armed["due"] is None, disarmed["due"]) == ("rest", False, None)
    await asyncio.sleep(2.6)
    assert (await alice.get(f"/v1/orders/{order['order_id']}")).json()["status"] == "new"
    await alice.post("/v1/cancel-all-after", json={"timeout_s": 1})
    async with asyncio.timeout(10):
        while (ended := (await alice.get(f"/v1/orders/{order['order_id']}")).json())["status"] == "new":
            await asyncio.sleep(0.1)
    assert (ended["status"], ended["reason"]) == ("canceled", "disconnect")


async def test_a_maker_protects_his_quotes_and_is_told_of_wrong_terms(venue):
    alice, _ = await join(venue)
    product = bid()["contract"].rpartition("-")[0]
    wanted = {"product": product, "qty": 4, "window_ms": 1_000}
    answer = await alice.put("/v1/protection", json=wanted)
    half = await alice.put("/v1/protection", json={"product": product, "qty": 4})
    standing = (await alice.get("/v1/protection")).json()["items"]
    ended = await alice.put("/v1/protection", json={"product": product})
    told = {name: answer.json()[name] for name in wanted}
    assert (answer.status_code, told, half.json()["code"], ended.json()["qty"]) == (200, wanted, "bad_terms", None)
    assert [each | {"seq": None} for each in standing] == [wanted | {"seq": None}]
    assert (await alice.get("/v1/protection")).json()["items"] == []


async def test_an_account_reads_what_the_venue_lets_it_do_at_most(venue):
    alice, _ = await join(venue)
    free = (await alice.get("/v1/limits")).json()
    await venue.log.send("admin", SetAccountLimits(account="alice", max_open_orders=7, throttle_window_s=60))
    async with asyncio.timeout(10):
        while (limits := (await alice.get("/v1/limits")).json())["max_open_orders"] is None:
            await asyncio.sleep(0.05)
    wanted = {"max_open_orders": 7, "max_position_gpus": None, "throttle_window_s": 60}
    assert {name: free[name] for name in wanted} == dict.fromkeys(wanted) | {"throttle_window_s": 0}
    assert {name: limits[name] for name in wanted} == wanted


async def test_orders_outlive_the_timer_while_the_socket_lives_and_end_after_it_breaks(venue):
    alice, _ = await join(venue)
    order = (await alice.post("/v1/orders", json=bid())).json()["order"]
    url = f"{venue.url.replace('http', 'ws', 1)}/v1/ws"
    async with websockets.connect(url) as socket:
        await socket.send(json.dumps(venue.keys["alice"].login()))
        await socket.send(json.dumps({"op": "cancel_on_disconnect", "timeout_s": 3}))
        async with asyncio.timeout(10):
            while (told := json.loads(await socket.recv())).get("op") != "cancel_on_disconnect":
                pass
        assert int(told["due_ns"]) > 0
        await asyncio.sleep(5)
        assert (await alice.get(f"/v1/orders/{order['order_id']}")).json()["status"] == "new"
    async with asyncio.timeout(15):
        while (ended := (await alice.get(f"/v1/orders/{order['order_id']}")).json())["status"] == "new":
            await asyncio.sleep(0.1)
    assert (ended["status"], ended["reason"]) == ("canceled", "disconnect")


async def test_a_polite_logout_cancels_nothing(venue):
    alice, _ = await join(venue)
    order = (await alice.post("/v1/orders", json=bid(contract=contract_in(6)))).json()["order"]
    url = f"{venue.url.replace('http', 'ws', 1)}/v1/ws"
    async with websockets.connect(url) as socket:
        await socket.send(json.dumps(venue.keys["alice"].login()))
        await socket.send(json.dumps({"op": "cancel_on_disconnect", "timeout_s": 3, "session": "gateway"}))
        async with asyncio.timeout(10):
            while (told := json.loads(await socket.recv())).get("op") != "cancel_on_disconnect":
                pass
        assert told["session"] == "gateway"
        await socket.send(json.dumps({"op": "logout"}))
        await socket.wait_closed()
    await asyncio.sleep(4)
    assert (await alice.get(f"/v1/orders/{order['order_id']}")).json()["status"] == "new"
