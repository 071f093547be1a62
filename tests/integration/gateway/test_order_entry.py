"""Order entry over HTTP on a real log: answers are the engine's decisions, and repeats change nothing."""

import asyncio
import time

import httpx

from schemas.ids import contract_name
from schemas.signing import SIGNATURE_HEADER
from tests.fixtures.event_log import PRODUCT, terms
from tests.integration.gateway.conftest import contract_in


def bid(qty: int = 1, price: str = "2.00", **changes) -> dict:
    return {"contract": contract_in(5), "side": "buy", "qty": qty, "price": price} | changes


async def test_an_order_rests_trades_and_is_canceled_with_every_term_echoed(venue):
    alice = await venue.join("alice", "read", "trade", money=100_000_000)
    operator = await venue.join("op", "read", "operate", money=100_000_000)
    await venue.add_node("n1", "op")
    placed = await alice.post("/v1/orders", json=bid(2, "2.50", client_order_id="first"))
    assert (placed.status_code, placed.headers["location"]) == (201, "/v1/orders/1")
    order = placed.json()["order"]
    expected = {"status": "new", "qty": 2, "price": "2.50", "tif": "GTG", "currency": "CNY", "client_order_id": "first"}
    assert {name: order[name] for name in expected} == expected
    timing = placed.json()["timing"]
    assert int(timing["gateway_in_ns"]) <= int(timing["gateway_out_ns"])

    ask = bid(1, "2.10") | {"side": "sell", "node": "n1"}
    sold = (await operator.post("/v1/orders", json=ask)).json()
    assert (sold["order"]["status"], sold["order"]["filled_value"]) == ("filled", "2.50")
    fill = sold["fills"][0]
    assert (fill["price"], fill["qty"], fill["side"], fill["role"]) == ("2.50", 1, "sell", "taker")

    canceled = await alice.delete("/v1/orders/1")
    assert (canceled.status_code, canceled.json()["canceled"]) == (200, 1)
    ended = canceled.json()["orders"][0]
    assert (ended["status"], ended["reason"], ended["filled_qty"], ended["remaining_qty"]) == ("canceled", "user", 1, 0)
    assert (await alice.get("/v1/orders/1")).json() == ended
    balance = (await alice.get("/v1/balances")).json()["items"]
    assert [(each["available"], each["held"]) for each in balance] == [("97.50", "2.50")]


async def test_the_same_order_again_is_answered_with_its_first_result_whatever_came_after(venue):
    alice = await venue.join("alice", "read", "trade", money=100_000_000)
    await venue.join("op", "read", "operate", money=100_000_000)
    form = bid(2, "2.50", client_order_id="mine")
    first = await alice.post("/v1/orders", json=form)
    await alice.delete("/v1/orders", params={"client_order_id": "mine"})
    again = await alice.post("/v1/orders", json=form)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (200, "true")
    assert again.json()["order"] == first.json()["order"]
    other = await alice.post("/v1/orders", json=form | {"qty": 3})
    assert (other.status_code, other.json()["code"]) == (409, "client_order_id_conflict")

    refused = [await alice.post("/v1/orders", json=bid(99, "9.00", client_order_id="dear")) for _ in range(2)]
    assert [answer.status_code for answer in refused] == [422, 422]
    assert [answer.json()["code"] for answer in refused] == ["insufficient_funds"] * 2
    assert [answer.headers.get("idempotent-replayed") for answer in refused] == [None, "true"]
    looked_up = (await alice.get("/v1/orders/by-client-id/dear")).json()
    assert (looked_up["status"], looked_up["reason"]) == ("rejected", "insufficient_funds")


async def test_a_repeat_shows_the_fills_of_its_own_command_and_no_later_ones(venue):
    alice = await venue.join("alice", "read", "trade", money=100_000_000)
    operator = await venue.join("op", "operate", money=100_000_000)
    await venue.add_node("n1", "op")
    await operator.post("/v1/orders", json=bid(1, "2.00") | {"side": "sell", "node": "n1"})
    form = bid(3, "2.50", client_order_id="mine")
    first = (await alice.post("/v1/orders", json=form)).json()
    await operator.post("/v1/orders", json=bid(1, "2.20") | {"side": "sell", "node": "n1"})
    again = (await alice.post("/v1/orders", json=form)).json()
    assert again["fills"] == first["fills"]
    assert [fill["price"] for fill in again["fills"]] == ["2.00"]
    assert again["order"]["filled_qty"] == 1
    assert (await alice.get("/v1/orders/by-client-id/mine")).json()["filled_qty"] == 2


async def test_an_operators_capacity_and_a_block_meet_on_one_node(venue):
    alice = await venue.join("alice", "read", "trade", money=1_000_000_000)
    operator = await venue.join("op", "read", "operate", "trade", money=1_000_000_000)
    await venue.add_node("n1", "op")
    start = (await alice.post("/v1/orders", json=bid())).json()["order"]["start"]
    end = (await alice.post("/v1/orders", json=bid(contract=contract_in(8)))).json()["order"]["start"]
    window = {"node": "n1", "from": start, "to": end, "gpus": 8, "floor_price": "3.00"}
    posted = await operator.post("/v1/orders", json={"kind": "capacity", "product": PRODUCT} | window)
    capacity = posted.json()["order"]
    assert (posted.status_code, capacity["periods"], capacity["remaining_qty"]) == (201, 3, 24)

    terms = {"start": start, "periods": 3, "qty": 2, "limit_price": "3.5"}
    taken = (await alice.post("/v1/orders", json={"kind": "block", "product": PRODUCT} | terms)).json()
    assert (taken["order"]["status"], taken["order"]["filled_value"]) == ("filled", "18.00")
    assert {fill["block_id"] for fill in taken["fills"]} == {taken["order"]["order_id"]}

    asks = (await operator.get("/v1/orders", params={"parent_id": capacity["order_id"]})).json()["items"]
    assert [(ask["qty"], ask["remaining_qty"]) for ask in asks] == [(8, 6)] * 3
    done = (await operator.delete(f"/v1/orders/{capacity['order_id']}")).json()
    assert (done["canceled"], [order["order_id"] for order in done["orders"]]) == (3, [capacity["order_id"]])
    listed = (await operator.get("/v1/orders")).json()["items"]
    assert [(order["kind"], order["status"], order["filled_qty"]) for order in listed] == [("capacity", "canceled", 6)]


async def test_cancel_all_takes_what_fits_its_filters_and_nothing_else(venue):
    alice = await venue.join("alice", "read", "trade", money=100_000_000)
    bob = await venue.join("bob", "read", "trade", money=100_000_000)
    for client in (alice, bob):
        await client.post("/v1/orders", json=bid())
        await client.post("/v1/orders", json=bid(contract=contract_in(6)))
    one = (await alice.post("/v1/orders/cancel-all", json={"contract": contract_in(6)})).json()
    assert (one["canceled"], one["orders"][0]["contract"]) == (1, contract_in(6))
    rest = (await alice.post("/v1/orders/cancel-all")).json()
    assert (rest["canceled"], rest["orders"][0]["reason"]) == (1, "mass")
    open_orders = (await bob.get("/v1/orders", params={"status": "open"})).json()["items"]
    assert len(open_orders) == 2


async def test_a_key_that_spends_its_budget_is_told_when_to_come_back_and_can_still_cancel(quiet_venue):
    venue = quiet_venue
    venue.settings = venue.settings.model_copy(update={"orders_per_s": 1, "burst_s": 2.0})
    async with venue.matching(), venue.gateway():
        alice = await venue.join("alice", "read", "trade", money=100_000_000)
        answers = [await alice.post("/v1/orders", json=bid()) for _ in range(8)]
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert (refused.json()["code"], refused.json()["retryable"]) == ("too_many_requests", True)
        assert refused.headers["ratelimit-policy"] == '"orders";q=2;w=2'
        assert refused.headers["ratelimit"].startswith('"orders";r=0;')
        assert int(refused.headers["retry-after"]) >= 1
        canceled = await alice.post("/v1/orders/cancel-all")
        taken = [answer for answer in answers if answer.status_code == 201]
        assert (canceled.status_code, canceled.json()["canceled"]) == (200, len(taken))


async def test_a_batch_of_a_key_that_has_spent_both_budgets_is_refused_before_its_signature_is_checked(quiet_venue):
    venue = quiet_venue
    venue.settings = venue.settings.model_copy(update={"orders_per_s": 1, "cancels_per_s": 1, "burst_s": 1.0})
    async with venue.matching(), venue.gateway():
        alice = await venue.join("alice", "read", "trade", money=100_000_000)
        heard: set[int] = set()
        async with asyncio.timeout(30), httpx.AsyncClient(base_url=venue.url) as forger:
            while heard != {401, 429}:
                headers = venue.keys["alice"].sign("POST", "/v1/orders/batch") | {SIGNATURE_HEADER: "0" * 128}
                heard.add((await forger.post("/v1/orders/batch", headers=headers)).status_code)
                await asyncio.gather(alice.post("/v1/orders", json=bid()), alice.post("/v1/orders/cancel-all"))


async def test_a_repeat_after_the_gate_is_answered_from_history_and_another_order_is_a_conflict(venue):
    alice = await venue.join("alice", "read", "trade", money=100_000_000)
    short = terms("SHORT80.CNE.F", period_s=5, gate_lead_s=1, grace_s=1, final_after_s=5, horizon_periods=4)
    await venue.log.send("admin", short)
    start_s = (int(time.time()) // 5 + 2) * 5
    form = bid(contract=contract_name("SHORT80.CNE.F", start_s, 5), client_order_id="soon")
    async with asyncio.timeout(10):
        while (first := await alice.post("/v1/orders", json=form)).status_code != 201:
            form["client_order_id"] += "+"
    async with asyncio.timeout(30):
        while (await alice.get(f"/v1/orders/by-client-id/{form['client_order_id']}")).json()["status"] != "expired":
            await asyncio.sleep(0.2)
    again = await alice.post("/v1/orders", json=form)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (200, "true")
    assert again.json()["order"] == first.json()["order"]
    other = await alice.post("/v1/orders", json=form | {"qty": 2})
    assert (other.status_code, other.json()["code"]) == (409, "client_order_id_conflict")
    new = await alice.post("/v1/orders", json=form | {"client_order_id": "too-late"})
    assert (new.status_code, new.json()["code"]) == (422, "gate_closed")
