"""A client's id names one thing for as long as anybody can see it: an order, a replace, or what was refused."""

import asyncio
import time

import asyncpg

from schemas.ids import contract_name
from tests.fixtures.event_log import terms
from tests.integration.gateway.conftest import contract_in
from tests.integration.gateway.test_every_path import said
from tests.integration.gateway.test_order_changes import ask, join
from tests.integration.gateway.test_order_entry import bid

CONFLICT = (409, "client_order_id_conflict")
PERIOD_S = 3
SHORT = terms("H100SXM80.CNS.F", period_s=PERIOD_S, gate_lead_s=1, grace_s=1, final_after_s=5, horizon_periods=8)
KEYED = {"headers": {"Idempotency-Key": "a-replace"}}


def soon(periods: int) -> str:
    """A contract of short periods that begins after so many of them."""
    return contract_name(SHORT.product, (int(time.time()) // PERIOD_S + periods) * PERIOD_S, PERIOD_S)


def without_timing(answer) -> dict:
    return {name: value for name, value in answer.json().items() if name != "timing"}


async def test_a_repeated_replace_gets_its_first_answer_whatever_came_after(quiet_venue):
    venue = quiet_venue
    async with venue.matching():
        async with venue.gateway():
            alice, operator = await join(venue)
            await operator.post("/v1/orders", json=ask(4, "3.00"))
            order = (await alice.post("/v1/orders", json=bid(6, "2.00", client_order_id="a"))).json()["order"]
            path = f"/v1/orders/{order['order_id']}"
            requests = [
                {"json": {"price": "3.00", "replace_id": "b"}},
                {"json": {"qty": 5, "price": "2.50"}, **KEYED},
                {"json": {"price": "2.75"}, "headers": {"Idempotency-Key": "another"}},
            ]
            firsts = [await alice.patch(path, **request) for request in requests]
            assert [answer.status_code for answer in firsts] == [200] * 3
            assert [fill["qty"] for fill in firsts[0].json()["fills"]] == [4]
            member = {"op": "replace", "order_id": order["order_id"], "price": "3.00", "replace_id": "b"}

            async def repeat() -> None:
                for request, first in zip(requests, firsts, strict=True):
                    again = await alice.patch(path, **request)
                    assert (again.status_code, again.headers["idempotent-replayed"]) == (200, "true")
                    assert without_timing(again) == without_timing(first)
                [result] = (await alice.post("/v1/orders/batch", json={"members": [member]})).json()["results"]
                assert (result["status"], result["replayed"]) == (200, True)
                assert {name: result[name] for name in without_timing(firsts[0])} == without_timing(firsts[0])
                other = {"json": {"qty": 5, "price": "2.60"}, **KEYED}
                assert said(await alice.patch(path, **other)) == CONFLICT
                assert said(await alice.patch(path, json={"price": "2.00", "replace_id": "b"})) == CONFLICT
                assert said(await alice.post("/v1/orders", json=bid(1, "1.00", client_order_id="b"))) == CONFLICT

            await repeat()
            named = (await alice.get("/v1/orders/by-client-id/b")).json()
            assert (named["order_id"], named["price"]) == (order["order_id"], "2.75")
            assert (await alice.delete(path)).status_code == 200
            await repeat()
        async with venue.gateway():
            await repeat()


async def test_what_was_done_to_many_orders_under_a_key_is_not_done_again_after_the_tables_are_lost(quiet_venue):
    venue = quiet_venue
    async with venue.matching():
        async with venue.gateway():
            alice = await venue.join("alice", "read", "trade", money=100_000_000)

            async def cancel_all(key: str, **filters: str):
                headers = {"Idempotency-Key": key}
                return await alice.post("/v1/orders/cancel-all", json=filters, headers=headers)

            assert (await alice.post("/v1/orders", json=bid(client_order_id="first"))).status_code == 201
            first = await cancel_all("once")
            assert (first.status_code, first.json()["canceled"]) == (200, 1)
            assert (await alice.post("/v1/orders", json=bid(client_order_id="later"))).status_code == 201
        database = await asyncpg.connect(venue.settings.database_url)
        await database.execute("drop schema gateway cascade")
        await database.close()
        for _ in range(2):  # once from the topic, once from the table that was filled from it
            async with venue.gateway():
                again = await cancel_all("once")
                assert (again.content, again.headers["idempotent-replayed"]) == (first.content, "true")
                assert said(await cancel_all("once", side="buy")) == (409, "conflict")
                assert (await alice.get("/v1/orders/by-client-id/later")).json()["status"] == "new"


async def test_f08_what_a_name_stood_for_is_known_after_its_gate_and_after_the_tables_are_lost(quiet_venue):
    venue = quiet_venue
    await venue.log.send("admin", SHORT)
    async with venue.matching():
        async with venue.gateway():
            alice = await venue.join("alice", "read", "trade", money=100_000_000)
            refused = bid(contract=soon(3), price="1000.00", qty=200, client_order_id="poor")
            first = await alice.post("/v1/orders", json=refused)
            assert said(first) == (422, "insufficient_funds")
            placing = {"members": [{"op": "place", "order": refused | {"client_order_id": "poor-too"}}]}
            assert (await alice.post("/v1/orders/batch", json=placing)).json()["results"][0]["status"] == 422
            unbound = bid(contract=contract_in(5000), client_order_id="early")
            assert said(await alice.post("/v1/orders", json=unbound)) == (422, "unlisted_contract")
            form = bid(contract=soon(3), client_order_id="mine")
            order = (await alice.post("/v1/orders", json=form)).json()["order"]
            path = f"/v1/orders/{order['order_id']}"
            replaced = await alice.patch(path, json={"qty": 2, "replace_id": "more"})
            assert replaced.status_code == 200
            async with asyncio.timeout(30):
                while (await alice.get(path)).json()["status"] != "expired":
                    await asyncio.sleep(0.2)

            async def names_stand() -> None:
                again = await alice.post("/v1/orders", json=refused)
                assert (said(again), again.headers["idempotent-replayed"]) == (said(first), "true")
                for name in ("poor", "poor-too", "more", "mine"):
                    other = bid(contract=soon(4), client_order_id=name)
                    assert said(await alice.post("/v1/orders", json=other)) == CONFLICT, name
                    members = {"members": [{"op": "place", "order": other}]}
                    [result] = (await alice.post("/v1/orders/batch", json=members)).json()["results"]
                    assert (result["status"], result["problem"]["code"]) == CONFLICT, name
                again = await alice.post("/v1/orders", json=form)
                assert (again.status_code, again.json()["order"]) == (200, order)
                seen = (await alice.get("/v1/orders/by-client-id/mine")).json()
                assert (seen["order_id"], seen["status"]) == (order["order_id"], "expired")
                results = (await alice.post("/v1/orders/batch", json=placing)).json()["results"]
                assert [(each["status"], each["replayed"]) for each in results] == [(422, True)]
                again = await alice.patch(path, json={"qty": 2, "replace_id": "more"})
                assert (again.status_code, again.json()["order"]) == (200, replaced.json()["order"])
                live = (await alice.post("/v1/orders", json=bid())).json()["order"]
                answer = await alice.patch(f"/v1/orders/{live['order_id']}", json={"qty": 3, "replace_id": "more"})
                assert said(answer) == CONFLICT

            await names_stand()
            taken = bid(client_order_id="early")
            assert (await alice.post("/v1/orders", json=taken)).status_code == 201, "it bound nothing"
        database = await asyncpg.connect(venue.settings.database_url)
        await database.execute("drop schema gateway cascade")
        await database.close()
        async with venue.gateway():
            await names_stand()
