"""Users of the one exchange that this suite shares: a trader with money, a stranger, a reader."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import uuid4

import httpx
import pytest

from clients.http import Credentials, load_credentials, new_credentials, open_client, result_of
from infra.admin import send_commands
from infra.exchange import RunningExchange
from schemas.ids import contract_name
from schemas.problems import PROBLEM_MEDIA_TYPE
from schemas.venue import DefineProduct
from tests.fixtures.event_log import terms

PRODUCT = "APITEST80.CNE.F"
NODE_PRODUCT = "APITEST80X8.CNE.F"
PERIOD_S = 3600
MONEY = "1000.00"


@dataclass(frozen=True)
class User:
    """An account with its key and a client that signs with it."""

    account: str
    key: Credentials
    client: httpx.Client


class Users:
    """The venue's administrator, and those whose accounts he opened."""

    def __init__(self, exchange: RunningExchange):
        self.addresses = exchange.addresses
        self.admin_key = load_credentials(exchange.data / "keys", "admin")
        self.admin = open_client(self.addresses["gateway"], self.admin_key)

    def open(self, *scopes: str, money: str | None = None) -> User:
        account = f"api-{uuid4().hex[:8]}"
        key = new_credentials(f"key-{account}")
        result_of(self.admin.post("/v1/accounts", json={"account": account}))
        form = {"account": account, "public_key": key.public_key, "scopes": scopes, "key_id": key.key_id}
        result_of(self.admin.post("/v1/keys", json=form))
        if money:
            with open_client(self.addresses["ledger"], self.admin_key) as ledger:
                deposit = {"account": account, "asset": "CNY", "amount": money}
                headers = {"Idempotency-Key": uuid4().hex}
                result_of(ledger.post("/v1/deposits", json=deposit, headers=headers))
        return User(account, key, open_client(self.addresses["gateway"], key))


@pytest.fixture(scope="session")
def users(exchange: RunningExchange) -> Users:
    """The venue, with two products that only this suite trades."""
    define(exchange, terms(PRODUCT, horizon_periods=300), terms(NODE_PRODUCT, horizon_periods=300))
    return Users(exchange)


def define(exchange: RunningExchange, *products: DefineProduct) -> None:
    """Defines products as the venue's administrator."""
    asyncio.run(send_commands(exchange.addresses["kafka"], exchange.data / "keys", list(products)))


@pytest.fixture(scope="session")
def trader(users: Users) -> User:
    """Has money and one order that rests."""
    trader = users.open("read", "trade", money=MONEY)
    result_of(trader.client.post("/v1/orders", json=bid(client_order_id="resting")))
    return trader


@pytest.fixture(scope="session")
def stranger(users: Users) -> User:
    """May trade, but has neither orders nor money."""
    return users.open("read", "trade")


@pytest.fixture(scope="session")
def reader(users: Users) -> User:
    """May only read."""
    return users.open("read")


@pytest.fixture
def nothing_changes(trader: User) -> Iterator[None]:
    """Whatever the test does, the trader's orders and balances are the same afterwards."""
    before = belongings(trader)
    yield
    assert belongings(trader) == before


def belongings(user: User) -> list[dict]:
    """Orders and balances, each with its sequence."""
    lists = ("/v1/orders", "/v1/fills", "/v1/positions", "/v1/balances")
    return [result_of(user.client.get(path))["items"] for path in lists]


def contract_in(periods: int, product: str = PRODUCT) -> str:
    """The contract that starts so many whole hours from now."""
    return contract_name(product, (int(time.time()) // PERIOD_S + periods) * PERIOD_S, PERIOD_S)


def bid(**changes) -> dict:
    """A bid that would rest."""
    return {"contract": contract_in(30), "side": "buy", "qty": 1, "price": "0.50"} | changes


def problem_of(response: httpx.Response) -> tuple[int, str]:
    """Status and code of a problem document, whose form is checked."""
    problem = response.json()
    assert response.headers["content-type"] == PROBLEM_MEDIA_TYPE
    assert {"type", "title", "status", "code", "detail", "retryable", "order_state", "request_id"} <= problem.keys()
    assert (problem["status"], problem["order_state"]) == (response.status_code, "none")
    assert problem["type"] == f"urn:hourbook:problem:{problem['code']}"
    assert problem["request_id"] == response.headers["x-request-id"]
    return response.status_code, problem["code"]
