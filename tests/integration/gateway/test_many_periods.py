"""Capacity, flex blocks and resales over HTTP on a real log: taken, repriced, withdrawn, sold on."""

from datetime import UTC, datetime

from schemas.ids import contract_start_s, product_of
from tests.integration.gateway.conftest import contract_in
from tests.integration.gateway.test_order_changes import join
from tests.integration.gateway.test_order_entry import bid


def moment_of(periods: int) -> str:
    return datetime.fromtimestamp(contract_start_s(contract_in(periods)), UTC).isoformat()


def capacity(first: int, last: int, price: str, gpus: int = 4) -> dict:
    window = {"from": moment_of(first), "to": moment_of(last)}
    product = product_of(contract_in(first))
    return {"kind": "capacity", "product": product, "node": "n1", "gpus": gpus, "floor_price": price} | window


async def test_capacity_is_repriced_withdrawn_in_part_and_bought_by_a_flex(venue):
    alice, operator = await join(venue)
    posted = (await operator.post("/v1/orders", json=capacity(3, 6, "3.00"))).json()["order"]
    named = {"order_id": posted["order_id"]}
    repriced = (await operator.post("/v1/capacity/reprice", json=named | {"floor_price": "2.00"})).json()
    assert (repriced["changed"], repriced["order"]["price"], repriced["order"]["remaining_qty"]) == (3, "2.00", 12)
    again = (await operator.post("/v1/capacity/reprice", json=named | {"floor_price": "2.00"})).json()
    assert again["changed"] == 0
    foreign = await alice.post("/v1/capacity/reprice", json=named | {"floor_price": "1.00"})
    assert foreign.status_code == 403
    window = {"from": moment_of(3), "to": moment_of(4)}
    withdrawn = (await operator.post("/v1/capacity/withdraw", json=named | window)).json()
    assert withdrawn["canceled"] == 1
    flex = {"kind": "flex", "product": posted["product"], "earliest": moment_of(3), "latest": moment_of(5)}
    bought = (await alice.post("/v1/orders", json=flex | {"periods": 1, "qty": 2, "limit_price": "2.50"})).json()
    order = bought["order"]
    assert (order["kind"], order["status"], order["start"]) == ("flex", "filled", posted_start(order, 4))


def posted_start(order: dict, periods: int) -> str:
    assert order["earliest"] < order["start"] < order["latest"]
    return moment_of(periods).replace("+00:00", ".000000Z")


async def test_a_position_is_sold_on_and_its_new_buyer_sees_the_operator_and_the_first_price(venue):
    alice, operator = await join(venue)
    bob = await venue.join("bob", "read", "trade", money=100_000_000)
    await operator.post("/v1/orders", json=capacity(3, 5, "2.00"))
    contract = contract_in(3)
    await alice.post("/v1/orders", json=bid(4, "2.00", contract=contract))
    form = {"kind": "resell", "product": product_of(contract), "from": moment_of(3), "to": moment_of(4), "qty": 3}
    resold = (await alice.post("/v1/orders", json=form | {"price": "2.40", "client_order_id": "r"})).json()["order"]
    assert (resold["kind"], resold["status"], resold["remaining_qty"]) == ("resell", "new", 3)
    assert (await alice.post("/v1/orders", json=form | {"price": "2.40", "client_order_id": "r"})).status_code == 200
    more = await alice.post("/v1/orders", json=form | {"price": "2.40"})
    assert (more.status_code, more.json()["code"]) == (422, "unbacked_ask")
    fill = (await bob.post("/v1/orders", json=bid(3, "2.40", contract=contract))).json()["fills"][0]
    assert (fill["price"], fill["qty"], fill["value"]) == ("2.40", 3, "7.20")
    (has,) = (await bob.get("/v1/positions")).json()["items"]
    assert (has["role"], has["price"], has["escrow"], has["node"]) == ("buyer", "2.00", "6.00", "n1")
    (left,) = (await alice.get("/v1/positions")).json()["items"]
    assert (left["qty"], left["escrow"], left["state"]) == (1, "2.00", "OPEN")
    balance = (await alice.get("/v1/balances")).json()["items"][0]
    assert (balance["available"], balance["held"]) == ("99.20", "2.00")
