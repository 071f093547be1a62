"""What holds for an order holds by every path: its key's limit, and that a stranger cannot tell it from none."""

import asyncio

from clients.http import new_credentials, open_async_client
from tests.integration.gateway.conftest import contract_in
from tests.integration.gateway.test_order_entry import bid

OVER = {"qty": 100, "price": "10.00"}


async def limited_client(venue, account: str, order_limit: str):
    """A second key of the account's, with a limit for the size of an order."""
    key = venue.keys[f"limited-{account}"] = new_credentials(f"limited-{account}")
    form = {"account": account, "public_key": key.public_key, "scopes": ["read", "trade", "operate"]}
    answer = await venue.admin.post("/v1/keys", json=form | {"key_id": key.key_id, "order_limit": order_limit})
    assert answer.status_code == 201
    client = open_async_client(venue.url, key)
    venue.clients.append(client)
    return client


def said(answer) -> tuple[int, str]:
    return answer.status_code, answer.json().get("code", "")


async def test_a12_a_keys_order_limit_holds_in_a_batch_at_once_and_for_every_name_of_an_order(venue):
    alice = await venue.join("alice", "read", "trade", money=1_000_000_000)
    limited = await limited_client(venue, "alice", "1.00")
    over = (403, "order_limit_exceeded")
    small = {"op": "place", "order": bid(1, "0.01", client_order_id="lim-1")}
    batches = [
        [small, {"op": "replace", "client_order_id": "lim-1", **OVER}],
        [
            small,
            {"op": "replace", "client_order_id": "lim-1", "qty": 100},
            {"op": "replace", "client_order_id": "lim-1", "price": "10.00"},
        ],
        [{"op": "place", "order": bid(100, "10.00")}],
    ]
    for members in batches:
        assert said(await limited.post("/v1/orders/batch", json={"members": members})) == over
    assert (await alice.get("/v1/orders")).json()["items"] == []

    order = (await limited.post("/v1/orders", json=bid(1, "0.50", client_order_id="mine"))).json()["order"]
    renamed = await limited.patch(f"/v1/orders/{order['order_id']}", json={"qty": 2, "replace_id": "also-mine"})
    assert renamed.status_code == 200
    for name in ("mine", "also-mine"):
        named = {"params": {"client_order_id": name}}
        assert said(await limited.patch("/v1/orders", json=OVER, **named)) == over
        assert said(await limited.patch("/v1/orders", json={"qty": 3}, **named)) == over
        assert said(await limited.patch("/v1/orders", json={"price": "0.60"}, **named)) == over
    fits = await limited.patch("/v1/orders", json={"qty": 1}, params={"client_order_id": "mine"})
    assert (fits.status_code, fits.json()["order"]["qty"], fits.json()["order"]["price"]) == (200, 1, "0.50")

    # Two that cross each other do not add up to more than the limit.
    for _ in range(5):
        order = (await limited.post("/v1/orders", json=bid(1, "0.01"))).json()["order"]
        path = f"/v1/orders/{order['order_id']}"
        await asyncio.gather(limited.patch(path, json={"qty": 100}), limited.patch(path, json={"price": "1.00"}))
        after = (await limited.get(path)).json()
        assert after["qty"] * float(after["price"]) <= 1.0, after


async def test_f14_a_strangers_order_is_answered_as_one_that_never_was_and_costs_the_log_nothing(venue):
    alice = await venue.join("alice", "read", "trade", money=100_000_000)
    rival = await venue.join("rival", "read", "trade", "operate", money=100_000_000)
    live = (await alice.post("/v1/orders", json=bid(1, "0.50"))).json()["order"]["order_id"]
    ended = (await alice.post("/v1/orders", json=bid(1, "0.50"))).json()["order"]["order_id"]
    await alice.delete(f"/v1/orders/{ended}")
    never = ended + 10_000
    window = {"from": "2030-01-01T00:00:00Z", "to": "2030-01-02T00:00:00Z"}

    async def probe(order_id: int) -> list:
        path = f"/v1/orders/{order_id}"
        members = [{"op": "cancel", "order_id": order_id}, {"op": "replace", "order_id": order_id, "qty": 1}]
        batch = (await rival.post("/v1/orders/batch", json={"members": members})).json()
        return [
            said(await rival.get(path))[0],
            said(await rival.delete(path)),
            said(await rival.patch(path, json={"qty": 1})),
            said(await rival.post("/v1/capacity/reprice", json={"order_id": order_id, "floor_price": "1.00"})),
            said(await rival.post("/v1/capacity/withdraw", json={"order_id": order_id} | window)),
            [(each["status"], each["problem"]) for each in batch["results"]],
        ]

    unknown = (404, "unknown_order")
    problem = {"code": "unknown_order", "detail": "the account has no such order", "why_unfilled": None}
    wanted = [404, unknown, unknown, unknown, unknown, [(404, problem)] * 2]
    before = (await alice.get("/v1/balances")).json()["seq"]
    assert await probe(live) == wanted
    assert await probe(ended) == wanted
    assert (await alice.get("/v1/balances")).json()["seq"] == before
    assert await probe(never) == wanted
    assert (
        said(
            await rival.delete(f"/v1/orders/{live}"),
        )
        == unknown
    )
    bodies = [(await rival.delete(f"/v1/orders/{each}")).json() | {"request_id": ""} for each in (live, ended)]
    assert bodies[0] == bodies[1]
    # One's own ended order is told as before, and members that can be carried out are.
    assert said(await alice.delete(f"/v1/orders/{ended}")) == (422, "order_closed")
    mixed = [{"op": "cancel", "order_id": live}, {"op": "place", "order": bid(1, "0.40", contract=contract_in(6))}]
    results = (await rival.post("/v1/orders/batch", json={"members": mixed})).json()["results"]
    assert [each["status"] for each in results] == [404, 201]

    # F03: a market sell has no floor.
    form = {"kind": "market", "contract": contract_in(5), "side": "sell", "qty": 1, "max_cost": "1.00"}
    assert said(await alice.post("/v1/orders", json=form)) == (400, "malformed_request")
    batch = await alice.post("/v1/orders/batch", json={"members": [{"op": "place", "order": form}]})
    assert [each["status"] for each in batch.json()["results"]] == [400]


async def test_f15_a_post_under_an_idempotency_key_is_carried_out_once_and_answered_as_at_first(venue):
    alice = await venue.join("alice", "read", "trade", "operate", money=100_000_000)
    placing = {"members": [{"op": "place", "order": bid()}, {"op": "cancel", "client_order_id": "none"}]}
    requests = {
        "/v1/orders/batch": (placing, {"members": placing["members"][:1]}),
        "/v1/cancel-all-after": ({"timeout_s": 600}, {"timeout_s": 700}),
        "/v1/orders/cancel-all": ({}, {"side": "buy"}),
        "/v1/enrolment-tokens": ({"valid_s": 60}, {"valid_s": 61}),
    }
    for path, (form, other) in requests.items():
        keyed = {"headers": {"Idempotency-Key": f"mine{path}"}}
        first, again = [await alice.post(path, json=form, **keyed) for _ in range(2)]
        assert (first.status_code, first.headers.get("idempotent-replayed")) == (again.status_code, None), path
        assert (again.json(), again.headers["idempotent-replayed"]) == (first.json(), "true"), path
        assert said(await alice.post(path, json=other, **keyed)) == (409, "conflict"), path
    key = {"account": "alice", "public_key": "ab" * 32, "scopes": ["read"], "key_id": "spare"}
    for path, form in (("/v1/accounts", {"account": "spare"}), ("/v1/keys", key)):
        keyed = {"headers": {"Idempotency-Key": f"mine{path}"}}
        first, again = [await venue.admin.post(path, json=form, **keyed) for _ in range(2)]
        assert (first.status_code, again.status_code, again.json()) == (201, 200, first.json()), path
        assert again.headers["idempotent-replayed"] == "true", path
        assert said(await venue.admin.post(path, json=form | {"account": "alice2"}, **keyed)) == (409, "conflict"), path
    named = {"headers": {"Idempotency-Key": "an-order"}}
    twice = [await alice.post("/v1/orders", json=bid(), **named) for _ in range(2)]
    assert [answer.status_code for answer in twice] == [201, 200]
    assert len((await alice.get("/v1/orders")).json()["items"]) == 2
    assert said(await alice.post("/v1/orders/cancel-all", json={}, headers={"Idempotency-Key": "a b"}))[0] == 400
