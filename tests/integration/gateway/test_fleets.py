"""Fleets over HTTP on a real log: a token for many nodes, nodes' own keys and their bounds, a leaked token."""

import pytest

from clients.http import Credentials, new_credentials, open_async_client
from schemas.accounts import EnrolmentToken, NodeKeyForm
from schemas.ids import product_of
from schemas.nodes import node_id_of
from schemas.signing import node_key_text
from tests.integration.gateway.conftest import Trading, contract_in
from tests.integration.gateway.test_many_periods import moment_of
from tests.integration.gateway.test_order_entry import bid

JSON = {"Content-Type": "application/json"}
REFUSED, LACKING, UNKNOWN = (403, "enrolment_token_refused"), (403, "scope_missing"), (404, "unknown_order")


def new_node() -> Credentials:
    made = new_credentials("unnamed")
    return Credentials(node_id_of(made.public_key), made.private_key)


def form_of(node: Credentials, token: EnrolmentToken) -> bytes:
    signature = node.private_key.sign(node_key_text(token.token_id, node.public_key)).hex()
    return NodeKeyForm(token=token, public_key=node.public_key, signature=signature).canonical()


async def issue(operator, **form: int) -> EnrolmentToken:
    return EnrolmentToken.model_validate((await operator.post("/v1/enrolment-tokens", json=form)).json())


async def ask(client, node: Credentials, token: EnrolmentToken) -> tuple[int, str | None]:
    answer = await client.post("/v1/node-keys", content=form_of(node, token), headers=JSON)
    return answer.status_code, answer.json().get("code")


def capacity(node: str, first: int = 3, last: int = 5) -> dict:
    window = {"from": moment_of(first), "to": moment_of(last)}
    product = product_of(contract_in(first))
    return {"kind": "capacity", "product": product, "node": node, "gpus": 4, "floor_price": "2.00"} | window


@pytest.fixture
async def operator(venue: Trading):
    return await venue.join("ops", "read", "operate", "trade", money=1_000_000_000)


async def test_a_nodes_own_key_acts_on_its_capacity_and_on_nothing_else(venue, operator):
    token, node, other = await issue(operator, nodes=2), new_node(), new_node()
    assert await ask(operator, node, token) == (201, None)
    assert await ask(operator, node, token) == (200, None), "a lost answer does no harm"
    for each in (node, other):
        await venue.add_node(each.key_id, "ops")
    foreign = (await operator.post("/v1/orders", json=capacity(other.key_id))).json()["order"]["order_id"]
    async with open_async_client(venue.url, node) as client:
        posted = await client.post("/v1/orders", json=capacity(node.key_id))
        assert posted.status_code == 201
        order_id = posted.json()["order"]["order_id"]
        listed = (await client.get("/v1/orders", params={"node": node.key_id, "status": "open"})).json()["items"]
        assert order_id in [order["order_id"] for order in listed]
        asks = (await client.get("/v1/orders", params={"parent_id": order_id, "status": "open"})).json()["items"]
        assert len(asks) == 2
        reprice = {"order_id": order_id, "floor_price": "2.50"}
        assert (await client.post("/v1/capacity/reprice", json=reprice)).json()["changed"] == 2
        assert (await client.get("/v1/positions", params={"node": node.key_id})).status_code == 200
        refused = {
            "another node's capacity": client.post("/v1/orders", json=capacity(other.key_id)),
            "a bid": client.post("/v1/orders", json=bid(1, "1.00")),
            "another node's order, canceled": client.delete(f"/v1/orders/{foreign}"),
            "another node's order, repriced": client.post("/v1/capacity/reprice", json=reprice | {"order_id": foreign}),
            "another node's orders": client.get("/v1/orders", params={"node": other.key_id}),
            "two nodes at once": client.get(f"/v1/orders?node={other.key_id}&node={node.key_id}"),
            "another node's asks": client.get("/v1/orders", params={"parent_id": foreign}),
            "all orders": client.get("/v1/orders"),
            "all positions": client.get("/v1/positions"),
            "the balances": client.get("/v1/balances"),
            "the keys": client.get("/v1/keys"),
            "a token": client.post("/v1/enrolment-tokens", json={}),
            "cancel all": client.post("/v1/orders/cancel-all", json={}),
            "a batch": client.post("/v1/orders/batch", json={"members": []}),
            "a form that is none": client.post("/v1/orders", content=b"{"),
            "the end of its own key": client.delete(f"/v1/keys/{node.key_id}"),
        }
        got = {what: await answer for what, answer in refused.items()}
        codes = {what: (answer.status_code, answer.json().get("code")) for what, answer in got.items()}
        of_none = dict.fromkeys((what for what in refused if "node's order, " in what or "asks" in what), UNKNOWN)
        assert codes == dict.fromkeys(refused, LACKING) | of_none
        assert (await client.delete(f"/v1/orders/{order_id}")).json()["canceled"] == 2
        for number, answer in ((order_id, (422, "order_closed")), (999_999, (404, "unknown_order"))):
            gone = await client.delete(f"/v1/orders/{number}")
            assert (gone.status_code, gone.json()["code"]) == answer


async def test_a_leaked_token_is_revoked_with_the_keys_that_were_had_by_it(venue, operator):
    token, honest, thief = await issue(operator, nodes=5), new_node(), new_node()
    assert await ask(operator, honest, token) == (201, None)
    stranger = await venue.join("eve", "read", "operate")
    assert (await stranger.delete(f"/v1/enrolment-tokens/{token.token_id}")).status_code == 404
    shown = (await operator.delete(f"/v1/enrolment-tokens/{token.token_id}")).json()
    assert (shown["node_keys"], shown["revoked"] is not None) == ([honest.key_id], True)
    assert await ask(operator, thief, token) == REFUSED
    assert await ask(operator, honest, token) == (200, None), "what it has admitted stays"
    async with open_async_client(venue.url, honest) as client:
        assert (await client.get("/v1/orders", params={"node": honest.key_id})).status_code == 200
        again = await operator.delete(f"/v1/enrolment-tokens/{token.token_id}?revoke_keys=true")
        assert (again.status_code, again.json()["revoked"]) == (200, shown["revoked"])
        answer = await client.get("/v1/orders", params={"node": honest.key_id})
        assert (answer.status_code, answer.json()["code"]) == (401, "unknown_key")
    (listed,) = (await operator.get("/v1/enrolment-tokens")).json()["items"]
    assert listed == shown


async def test_a_token_gives_as_many_keys_as_it_says_until_it_expires_to_who_holds_the_key(venue, operator):
    token, first, second = await issue(operator), new_node(), new_node()
    assert await ask(operator, first, token) == (201, None)
    assert await ask(operator, second, token) == REFUSED
    more = token.model_copy(update={"nodes": 9})
    assert await ask(operator, second, more) == REFUSED, "the number is signed"
    fresh = await issue(operator, nodes=3)
    stolen = form_of(second, fresh).replace(second.public_key.encode(), new_node().public_key.encode())
    answer = await operator.post("/v1/node-keys", content=stolen, headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (401, "bad_request_signature")
    too_many = await operator.post("/v1/enrolment-tokens", json={"nodes": 10_001})
    assert too_many.status_code == 400


async def test_an_account_ends_its_own_keys_and_those_of_its_nodes_and_no_others(venue, operator):
    token, node = await issue(operator), new_node()
    await ask(operator, node, token)
    stranger = await venue.join("eve", "read", "operate")
    for client, key_id in ((stranger, node.key_id), (operator, "key-eve"), (operator, "none")):
        answer = await client.delete(f"/v1/keys/{key_id}")
        assert (answer.status_code, answer.json()["code"]) == LACKING
    ended = (await operator.delete(f"/v1/keys/{node.key_id}")).json()
    assert (ended["node"], ended["revoked"]) == (node.key_id, True)
    answer = await operator.post("/v1/node-keys", content=form_of(node, token), headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert (await operator.delete("/v1/keys/key-ops")).json()["revoked"] is True
    answer = await operator.get("/v1/balances")
    assert (answer.status_code, answer.json()["code"]) == (401, "unknown_key")
