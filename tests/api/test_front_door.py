"""Every service through the one address: the same answers as at its own port."""

import json

import httpx
import pytest
from websockets.sync.client import connect

from clients.http import new_credentials, open_client, result_of
from tests.api.conftest import bid

SERVICES = ("gateway", "market_data", "delivery", "listings", "ledger", "matching")
METHODS = ("get", "post", "put", "patch", "delete")


@pytest.fixture
def front(users) -> str:
    return users.addresses["front"]


@pytest.mark.parametrize("service", SERVICES)
def test_every_route_of_every_service_answers_there_as_at_the_services_own_port(users, front, service):
    own = users.addresses[service]
    paths = httpx.get(f"{own}/openapi.json").json()["paths"]
    differences, count = [], 0
    asker = httpx.Client(timeout=60)
    for path, operations in paths.items():
        target = "/".join("7" if part.startswith("{") else part for part in path.split("/"))
        for method in operations.keys() & set(METHODS):
            here, there = (asker.request(method, f"{base}{target}") for base in (front, own))
            count += 1
            if (here.status_code, code_of(here)) != (there.status_code, code_of(there)):
                differences.append((method, target, here.status_code, there.status_code))
    assert differences == []
    assert count == sum(len(each.keys() & set(METHODS)) for each in paths.values()) > 0


def code_of(answer: httpx.Response) -> str | None:
    """Returns a problem's code; None of what is no problem."""
    return answer.json()["code"] if answer.headers["Content-Type"] == "application/problem+json" else None


def test_the_documents_of_all_services_stand_there(users, front):
    for service in SERVICES:
        if service != "matching":
            own = httpx.get(f"{users.addresses[service]}/openapi.json").json()
            assert httpx.get(f"{front}/openapi/{service}.json").json() == own


def test_an_order_goes_through_it_and_its_owners_socket_too(trader, front):
    with open_client(front, trader.key) as client:
        order = result_of(client.post("/v1/orders", json=bid(client_order_id="by-the-front")))["order"]
        found = result_of(client.get("/v1/orders/by-client-id/by-the-front"))
        assert (found["order_id"], found["status"]) == (order["order_id"], "new")
        with connect(f"{front.replace('http', 'ws', 1)}/v1/ws") as socket:
            socket.send(json.dumps({"op": "login", **trader.key.login()}))
            assert json.loads(socket.recv(timeout=5))["account"] == trader.account
        result_of(client.delete(f"/v1/orders/{order['order_id']}"))


def test_the_feed_comes_through_it(front):
    with connect(f"{front.replace('http', 'ws', 1)}/v1/feed") as socket:
        socket.send(json.dumps({"op": "subscribe", "ch": "status", "syms": ["*"], "id": "1"}))
        assert json.loads(socket.recv(timeout=5))["ch"] in ("ack", "status", "hb")


def test_a_keys_list_of_addresses_is_checked_with_the_address_before_the_front_door(users, front):
    statuses = {}
    for network in ("127.0.0.1/32", "203.0.113.0/24"):
        user = users.open("read")
        key = new_credentials(f"listed-{user.account}")
        form = {"account": user.account, "public_key": key.public_key, "scopes": ["read"], "key_id": key.key_id}
        result_of(users.admin.post("/v1/keys", json=form | {"ip_networks": [network]}))
        with open_client(front, key) as client:
            headers = {"X-Forwarded-For": "203.0.113.9"}
            statuses[network] = client.get("/v1/balances", headers=headers).status_code
    assert statuses == {"127.0.0.1/32": 200, "203.0.113.0/24": 403}


def test_the_page_there_asks_nobody_else(front):
    config = httpx.get(f"{front}/config.json").json()
    assert config == {"market_data": "", "feed": f"{front.replace('http', 'ws', 1)}/v1/feed", "listings": ""}
    policy = httpx.get(f"{front}/").headers["Content-Security-Policy"]
    assert {part.split(" ")[0]: set(part.split(" ")[1:]) for part in policy.split("; ")}["connect-src"] == {
        "'self'",
        "",
        front.replace("http", "ws", 1),
    }
