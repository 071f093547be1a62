"""Nothing acknowledged is lost when parts go away: PostgreSQL, the engine, or the gateway itself."""

import asyncio

from tests.integration.gateway.test_order_entry import bid


async def test_an_order_that_the_engine_does_not_answer_is_unknown_and_the_same_request_finds_it(quiet_venue):
    venue = quiet_venue
    async with venue.gateway():
        async with venue.matching():
            alice = await venue.join("alice", "read", "trade", money=100_000_000)
            first = await alice.post("/v1/orders", json=bid())
            assert first.status_code == 201
        form = bid(client_order_id="late")
        unknown = await alice.post("/v1/orders", json=form)
        assert (unknown.status_code, unknown.json()["order_state"]) == (202, "unknown")
        assert unknown.json()["client_order_id"] == "late"
        async with venue.matching():
            again = await alice.post("/v1/orders", json=form)
            assert (again.status_code, again.headers["idempotent-replayed"]) == (200, "true")
            assert again.json()["order"]["status"] == "new"
            assert len((await alice.get("/v1/orders")).json()["items"]) == 2


async def test_a_restarted_gateway_knows_what_happened_while_it_was_away(quiet_venue):
    venue = quiet_venue
    async with venue.matching():
        async with venue.gateway():
            alice = await venue.join("alice", "read", "trade", money=100_000_000)
            form = bid(2, client_order_id="mine")
            first = (await alice.post("/v1/orders", json=form)).json()
        await venue.log.credit(7)
        async with venue.gateway():
            again = await alice.post("/v1/orders", json=form)
            assert (again.status_code, again.json()["order"]) == (200, first["order"])
            assert (await alice.get("/v1/orders/1")).json() == first["order"]
            balances = (await alice.get("/v1/balances")).json()["items"]
            assert [(each["available"], each["held"]) for each in balances] == [("96.00", "4.00")]
            canceled = await alice.delete("/v1/orders/1")
            assert canceled.json()["orders"][0]["status"] == "canceled"


async def test_orders_go_on_without_postgresql_and_its_reads_come_back_with_it(quiet_venue, own_postgres):
    venue = quiet_venue
    venue.settings = venue.settings.model_copy(update={"database_url": own_postgres.address, "read_wait_s": 1.0})
    async with venue.matching(), venue.gateway():
        alice = await venue.join("alice", "read", "trade", money=100_000_000)
        own_postgres.kill()
        placed = await alice.post("/v1/orders", json=bid())
        assert placed.status_code == 201
        assert (await alice.get("/v1/orders/1")).status_code == 200
        away = await alice.get("/v1/orders")
        assert (away.status_code, away.json()["code"], away.json()["retryable"]) == (503, "unavailable", True)
        own_postgres.start()
        async with asyncio.timeout(20):
            while (found := await alice.get("/v1/orders")).status_code != 200:
                await asyncio.sleep(0.2)
        assert found.json()["items"] == [placed.json()["order"]]


async def test_an_order_sent_while_the_broker_is_down_is_taken_once_when_it_is_repeated(quiet_venue, own_kafka):
    venue = quiet_venue
    async with venue.matching(), venue.gateway() as gateway:
        alice = await venue.join("alice", "read", "trade", money=100_000_000)
        own_kafka.kill()
        lost = await alice.post("/v1/orders", json=bid(client_order_id="during"))
        assert lost.status_code in (202, 503)
        own_kafka.start()
        await venue.wait_ready(gateway)
        async with asyncio.timeout(40):
            while (answer := await alice.post("/v1/orders", json=bid(client_order_id="during"))).status_code > 201:
                await asyncio.sleep(0.3)
        assert answer.json()["order"]["status"] == "new"
        assert len((await alice.get("/v1/orders")).json()["items"]) == 1


async def test_a20_what_is_in_flight_when_the_gateway_stops_is_unknown_and_never_an_error(quiet_venue):
    venue = quiet_venue
    venue.settings = venue.settings.model_copy(update={"answer_timeout_s": 30.0})
    async with venue.gateway():
        async with venue.matching():
            alice = await venue.join("alice", "read", "trade", money=100_000_000)
            first = (await alice.post("/v1/orders", json=bid())).json()["order"]
        path, placing = f"/v1/orders/{first['order_id']}", {"members": [{"op": "place", "order": bid()}]}
        requests = [
            alice.post("/v1/orders", json=bid(client_order_id="late")),
            alice.post("/v1/orders/batch", json=placing),
            alice.patch(path, json={"qty": 1}),
            alice.delete(path),
            alice.post("/v1/orders/cancel-all", json={}),
        ]
        asked = [asyncio.create_task(request) for request in requests]
        await asyncio.sleep(1.5)
    answers = [await each for each in asked]
    assert [(each.status_code, each.json()["order_state"]) for each in answers] == [(202, "unknown")] * len(requests)
    async with venue.matching(), venue.gateway():
        assert (await alice.get("/v1/orders/by-client-id/late")).json()["status"] in ("new", "canceled")
