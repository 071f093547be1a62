"""What a rejection by the engine says of somebody else's order: what it says of one that never was."""

from types import SimpleNamespace

import pytest

from schemas.events import OrderRejected
from services.gateway.routes.answers import rejection
from services.gateway.routes.authorize import RequestContext
from services.kit.auth import Caller

HEADER = {"shard": 0, "seq": 1, "in_offset": 0, "index": 0, "count": 1, "ts_ms": 0, "prev_link": "0" * 64}
NAMES = {"command_id": "c1", "account": "alice", "client_order_id": None, "order_id": 7, "why_unfilled": None}
OF_ALICE = RequestContext(Caller("alice", "key-alice", frozenset({"trade"}), None), None, b"", 0, {})


def said(owner: str | None, code: str) -> tuple[str, int, str]:
    """What alice is told where the engine refused to cancel order 7; `owner` is whose the gateway knows it to be."""
    orders = {} if owner is None else {7: SimpleNamespace(account=owner)}
    gateway = SimpleNamespace(history=SimpleNamespace(orders=orders))
    problem = rejection(gateway, OF_ALICE, OrderRejected(**HEADER, **NAMES, command="cancel_order", code=code))
    return problem.code, problem.status, problem.detail


@pytest.mark.parametrize("code", ["order_closed", "not_the_owner", "not_replaceable", "unknown_order"])
def test_an_order_that_was_placed_by_another_while_it_was_guessed_is_told_as_none(code):
    assert said("bob", code) == said(None, "unknown_order") == ("unknown_order", 404, "the account has no such order")


def test_ones_own_order_that_has_ended_is_told_as_that():
    assert said("alice", "order_closed")[:2] == ("order_closed", 422)
