"""Who asks: budget, signature, scope, in this order, and what each of them costs the caller."""

import re
from itertools import count
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import Request

from schemas import signing
from services.gateway.routes.authorize import TRADERS, authorize
from services.kit.auth import Authenticator
from services.kit.http import ProblemError
from services.kit.limits import Budget, EitherBudget

PRIVATE = Ed25519PrivateKey.generate()
REQUESTS = 2
OPENED_MS, NOW_MS = 1_000_000, 1_000_001
NONCES = count()


class Gateway:
    """Its check of signatures and a budget of two requests, for one key."""

    def __init__(self, *scopes: str):
        key = SimpleNamespace(
            account="alice",
            key_id="key-alice",
            public_key=PRIVATE.public_key().public_bytes_raw().hex(),
            scopes=scopes,
            expires_ms=None,
            ip_networks=(),
            order_limit_micros=None,
            revoked=False,
            node=None,
        )
        directory = SimpleNamespace(get=lambda key_id: key)
        self.clock = iter([OPENED_MS])
        self.auth = Authenticator(directory, 10_000, lambda: next(self.clock, NOW_MS), ahead_ms=0)
        self.budget = Budget("orders", 1, REQUESTS, clock=lambda: 0.0)

    async def ask(self, *scopes: str, signed: bool = True, decides: bool = True) -> tuple[str, int]:
        """Asks once; returns the account, or what was wrong, and how many requests the budget still has.

        Where the budget does not decide, the form is to say how much of which is taken.
        """
        try:
            budget = self.budget if decides else EitherBudget(self.budget)
            context = await authorize(self, request(signed), budget, *scopes)
            said = context.caller.account
        except ProblemError as problem:
            said = problem.code
        return said, self.left()

    def left(self) -> int:
        """Returns how many requests the budget still has, as its headers say it."""
        return int(re.search(r";r=(\d+);", self.budget.take("key-alice", 0).headers["RateLimit"])[1])


def request(signed: bool) -> Request:
    """A request to place an order, signed by the key or by none."""
    ts_ms, nonce = str(NOW_MS), f"nonce-{next(NONCES):04}"
    text = signing.request_text("POST", "/v1/orders", "", b"{}", ts_ms, nonce, "key-alice", "")
    fields = (
        (signing.KEY_HEADER, "key-alice"),
        (signing.TIMESTAMP_HEADER, ts_ms),
        (signing.NONCE_HEADER, nonce),
        (signing.SIGNATURE_HEADER, PRIVATE.sign(text).hex() if signed else "0" * 128),
    )
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/orders",
        "raw_path": b"/v1/orders",
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in fields],
        "client": ("127.0.0.1", 1),
    }

    async def receive() -> dict:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    return Request(scope, receive)


async def test_who_may_ask_pays_one_request():
    gateway = Gateway("trade")
    assert [await gateway.ask(*TRADERS), await gateway.ask("trade")] == [("alice", 1), ("alice", 0)]


async def test_a_signature_that_does_not_fit_costs_the_key_nothing():
    assert await Gateway("trade").ask(*TRADERS, signed=False) == ("bad_request_signature", REQUESTS)


async def test_a_spent_budget_is_said_before_any_signature_is_checked():
    gateway = Gateway("trade")
    for _ in range(REQUESTS):
        await gateway.ask(*TRADERS)
    assert await gateway.ask(*TRADERS, signed=False) == ("too_many_requests", 0)


async def test_a_scope_is_asked_for_after_the_request_was_paid():
    gateway = Gateway("read")
    said = [await gateway.ask(*TRADERS), await gateway.ask(), await gateway.ask(*TRADERS, signed=False)]
    assert said == [("scope_missing", 1), ("alice", 0), ("too_many_requests", 0)]


async def test_where_the_form_says_what_it_costs_nothing_is_taken_and_the_scope_is_required_all_the_same():
    gateway = Gateway("operate")
    assert await gateway.ask(*TRADERS, decides=False) == ("alice", REQUESTS)
    assert await gateway.ask("trade", decides=False) == ("scope_missing", REQUESTS)


@pytest.mark.parametrize(("scopes", "lacking"), [(TRADERS, "trade"), (("operate",), "operate")])
async def test_what_is_lacking_is_named_by_the_first_scope(scopes, lacking):
    with pytest.raises(ProblemError) as missing:
        gateway = Gateway("read")
        await authorize(gateway, request(signed=True), gateway.budget, *scopes)
    assert missing.value.detail == f"the key lacks the scope `{lacking}`"
