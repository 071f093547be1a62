"""Lists, pages, keys, tokens and private feeds, as their owner sees them."""

import json
from datetime import UTC, datetime

import asyncpg
import httpx
import websockets

from clients.http import new_credentials, open_async_client
from schemas.ids import contract_start_s
from schemas.signing import enrolment_text
from services.kit.keys import load_public_key, signature_holds
from tests.integration.gateway.conftest import PRODUCT, contract_in
from tests.integration.gateway.test_order_entry import bid


def starts_at(contract: str) -> str:
    """The contract's start as a request names it."""
    return datetime.fromtimestamp(contract_start_s(contract), UTC).isoformat()


async def test_lists_come_newest_first_page_by_page_without_a_hole(venue):
    alice = await venue.join("alice", "read", "trade", money=100_000_000)
    for _ in range(5):
        await alice.post("/v1/orders", json=bid())
    pages, cursor = [], None
    while not pages or cursor:
        page = (await alice.get("/v1/orders", params={"limit": 2} | ({"cursor": cursor} if cursor else {}))).json()
        pages.append([order["order_id"] for order in page["items"]])
        cursor = page["cursor"]
    assert pages == [[5, 4], [3, 2], [1]]


async def test_nobody_sees_or_cancels_what_is_anothers(venue):
    alice = await venue.join("alice", "read", "trade", money=100_000_000)
    bob = await venue.join("bob", "read", "trade")
    await alice.post("/v1/orders", json=bid(client_order_id="hers"))
    answers = [
        await bob.get("/v1/orders/1"),
        await bob.get("/v1/orders/by-client-id/hers"),
        await bob.delete("/v1/orders/1"),
        await bob.delete("/v1/orders", params={"client_order_id": "hers"}),
    ]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [
        (404, "not_found"),
        (404, "not_found"),
        (404, "unknown_order"),
        (404, "unknown_order"),
    ]
    assert (await bob.get("/v1/orders")).json()["items"] == []
    assert (await alice.get("/v1/orders/1")).json()["status"] == "new"


async def test_o10_a_node_s_orders_and_positions_are_read_alone_and_not_again_while_nothing_changes(venue):
    alice = await venue.join("alice", "read", "trade", money=1_000_000_000)
    operator = await venue.join("op", "read", "operate", "trade", money=1_000_000_000)
    for node in ("n1", "n2"):
        await venue.add_node(node, "op")
    window = {"from": starts_at(contract_in(5)), "to": starts_at(contract_in(8)), "gpus": 8, "floor_price": "3.00"}
    placed = [
        (await operator.post("/v1/orders", json={"kind": "capacity", "product": PRODUCT, "node": node} | window)).json()
        for node in ("n1", "n2")
    ]
    own = {"node": "n1", "status": "open", "side": "sell"}
    page = (await operator.get("/v1/orders", params=own)).json()
    assert [order["order_id"] for order in page["items"]] == [placed[0]["order"]["order_id"]]
    since = own | {"changed_after": page["seq"]}
    unchanged = (await operator.get("/v1/orders", params=since)).json()
    assert (unchanged["items"], unchanged["seq"]) == ([], page["seq"])
    assert (await alice.get("/v1/orders", params=own)).json()["items"] == [], "another's node has nothing for her"

    levels = {"product": PRODUCT}
    own_asks = (await operator.get("/v1/capacity/levels", params=levels)).json()
    assert own_asks["asks"] == [{"contract": contract_in(hour), "price": "3.00", "qty": 16} for hour in (5, 6, 7)]
    assert (await alice.get("/v1/capacity/levels", params=levels)).json()["asks"] == []

    await alice.post("/v1/orders", json=bid(qty=9, price="3.00", contract=contract_in(5)))
    sold = {"node": "n1", "role": "operator", "state": "OPEN"}
    positions = (await operator.get("/v1/positions", params=sold | {"changed_after": page["seq"]})).json()
    assert [position["node"] for position in positions["items"]] == ["n1"]
    assert positions["seq"] > page["seq"]
    changed = (await operator.get("/v1/orders", params=since)).json()["items"]
    assert [order["order_id"] for order in changed] == [placed[0]["order"]["order_id"]]
    for path, params in (("/v1/positions", {"node": "n1"}), ("/v1/orders", {"node": "n2"})):
        assert {item["node"] for item in (await operator.get(path, params=params)).json()["items"]} == {params["node"]}


async def test_a_private_feed_gives_a_snapshot_and_then_every_change(venue):
    alice = await venue.join("alice", "read", "trade", money=100_000_000)
    placed = (await alice.post("/v1/orders", json=bid(2))).json()["order"]
    async with venue.feed("alice", "orders", "balances") as feed:
        orders, balances = await feed.next(), await feed.next()
        assert (orders["ch"], orders["type"], orders["data"]) == ("orders", "snapshot", [placed])
        assert (balances["data"][0]["available"], balances["data"][0]["held"]) == ("96.00", "4.00")
        await alice.delete("/v1/orders/1")
        changed, released = await feed.next(), await feed.next()
        assert (changed["type"], changed["data"]["status"], changed["data"]["reason"]) == ("update", "canceled", "user")
        assert (released["data"]["held"], released["seq"]) == ("0.00", changed["seq"])
        assert changed["seq"] > orders["seq"]


async def test_a_feed_without_a_good_login_is_closed_with_a_code(venue):
    await venue.join("alice", "read", "trade")
    url = f"{venue.url.replace('http', 'ws', 1)}/v1/ws"
    login = venue.keys["alice"].login()
    for message, code in ((login | {"nonce": "0" * 16}, "bad_request_signature"), ({"op": "ping"}, "unsigned_request")):
        async with websockets.connect(url) as socket:
            await socket.send(json.dumps(message))
            assert json.loads(await socket.recv())["code"] == code
            await socket.wait_closed()
            assert socket.close_code == 4401


async def test_a_key_works_at_once_is_told_twice_without_harm_and_ends_when_revoked(venue):
    alice = await venue.join("alice", "read")
    key = venue.keys["alice"]
    form = {"account": "alice", "public_key": key.public_key, "scopes": ["read"], "key_id": key.key_id}
    again = await venue.admin.post("/v1/keys", json=form)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (200, "true")
    other = await venue.admin.post("/v1/keys", json=form | {"scopes": ["read", "trade"]})
    assert (other.status_code, other.json()["code"]) == (409, "conflict")
    assert [each["key_id"] for each in (await alice.get("/v1/keys")).json()["items"]] == [key.key_id]
    assert (await venue.admin.delete(f"/v1/keys/{key.key_id}")).json()["revoked"] is True
    gone = await alice.get("/v1/balances")
    assert (gone.status_code, gone.json()["code"]) == (401, "unknown_key")


async def test_a_key_may_be_limited_by_order_size_address_and_time(venue):
    await venue.join("alice", "read", "trade", money=100_000_000)

    async def answer(**limits) -> tuple[int, str]:
        key = new_credentials(f"limited-{len(limits)}-{next(iter(limits))}")
        form = {"account": "alice", "public_key": key.public_key, "scopes": ["trade"], "key_id": key.key_id}
        await venue.admin.post("/v1/keys", json=form | limits)
        async with open_async_client(venue.url, key) as client:
            reply = await client.post("/v1/orders", json=bid(2, "5.00"))
            return reply.status_code, reply.json().get("code")

    assert await answer(order_limit="10.00") == (201, None)
    assert await answer(order_limit="9.99", ip_networks=["127.0.0.0/8"]) == (403, "order_limit_exceeded")
    assert await answer(ip_networks=["192.0.2.0/24"]) == (403, "address_not_allowed")
    assert await answer(expires="2020-01-01T00:00:00Z") == (401, "key_expired")


async def test_an_enrolment_token_is_the_gateways_own_statement_and_one_for_each_idempotency_key(venue):
    operator = await venue.join("op", "operate")
    headers = {"Idempotency-Key": "rack-7"}
    first, again = [await operator.post("/v1/enrolment-tokens", json={}, headers=headers) for _ in range(2)]
    other = await operator.post("/v1/enrolment-tokens", json={"valid_s": 60})
    token = first.json()
    assert (first.status_code, again.json()) == (201, token)
    assert other.json()["token_id"] != token["token_id"]
    text = enrolment_text("op", token["token_id"], token["expires_ms"])
    assert signature_holds(load_public_key(venue.settings.keys_dir, "gateway"), token["signature"], text)


async def test_the_gateway_tells_whoever_asks_that_it_is_alive_ready_and_documented(venue):
    async with httpx.AsyncClient(base_url=venue.url) as anyone:
        assert (await anyone.get("/healthz")).json() == {"service": "gateway", "status": "alive"}
        assert (await anyone.get("/readyz")).json()["ready"] is True
        assert "hourbook_gateway_events_read" in (await anyone.get("/metrics")).text
        assert (await anyone.get("/openapi.json")).json()["openapi"].startswith("3.1")


async def test_a_row_that_cannot_be_shown_costs_its_own_line_and_not_the_page(venue):
    alice = await venue.join("alice", "read", "trade", money=100_000_000)
    operator = await venue.join("op", "read", "operate", money=100_000_000)
    await venue.add_node("n1", "op")
    for _ in range(3):
        ask = bid(1, "1.00", side="sell", node="n1")
        assert (await operator.post("/v1/orders", json=ask)).status_code == 201
        assert (await alice.post("/v1/orders", json=bid(1, "1.00"))).json()["order"]["status"] == "filled"
    lists = ("/v1/orders", "/v1/fills", "/v1/positions")
    whole = [(await alice.get(path)).json() for path in lists]
    assert [(len(page["items"]), "left_out" in page) for page in whole] == [(3, False)] * 3
    database = await asyncpg.connect(venue.settings.database_url)
    for table, key, column in (
        ("orders", "order_id", "tif"),
        ("fills", "trade_id", "contract"),
        ("positions", "seq", "node"),
    ):
        own = "account = 'alice'" if table == "orders" else "buyer = 'alice'"
        oldest = f"select min({key}) from gateway.{table} where {own}"
        await database.execute(f"update gateway.{table} set {column} = '?!' where {key} = ({oldest})")
    await database.close()
    cut = [(await alice.get(path)).json() for path in lists]
    assert [page["items"] for page in cut] == [page["items"][:2] for page in whole]
    assert [page["left_out"] for page in cut] == [1, 1, 1]
    first = (await alice.get("/v1/orders", params={"limit": 2})).json()
    last = (await alice.get("/v1/orders", params={"limit": 2, "cursor": first["cursor"]})).json()
    assert (first["items"], last["items"], last["cursor"]) == (whole[0]["items"][:2], [], None)
    assert last["left_out"] == 1
