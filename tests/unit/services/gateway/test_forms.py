"""From a form to a command: every term is carried over exactly, and what makes no command is refused."""

import pytest
from pydantic import ValidationError

from schemas.events import OrderRejected
from schemas.orders import MassCancel, PlaceBlock, PlaceOrder, PostCapacity
from schemas.rest import ORDER_FORM, CancelForm
from services.gateway import domain
from tests.scenarios.venue import product_terms

CONTRACT = "H100SXM80X8.CNE.F-26112213"
LIMIT = {"contract": CONTRACT, "side": "buy", "qty": 8, "price": "12.84"}
BLOCK = {
    "kind": "block",
    "product": "H100SXM80.CNE.F",
    "start": "2026-11-22T13:00:00Z",
    "periods": 4,
    "qty": 2,
    "limit_price": "2.5",
}
CAPACITY = {
    "kind": "capacity",
    "product": "H100SXM80.CNE.F",
    "node": "n1",
    "gpus": 8,
    "from": "2026-11-22T13:00:00Z",
    "to": "2026-11-22T15:00:00Z",
    "floor_price": "1.999999",
}


def command_of(fields: dict):
    return domain.command_of(ORDER_FORM.validate_python(fields), "alice", "c1", "auto-1")


def test_a_limit_form_becomes_the_accounts_order_with_every_term():
    fields = LIMIT | {"tif": "GTC", "post_only": True, "client_order_id": "mine"}
    assert command_of(fields) == PlaceOrder(
        command_id="c1",
        account="alice",
        client_order_id="mine",
        contract=CONTRACT,
        side="buy",
        kind="limit",
        qty=8,
        price_micros=12_840_000,
        max_cost_micros=None,
        tif="GTG",
        post_only=True,
        node=None,
        stp="cancel_newest",
    )


def test_an_order_without_a_client_id_gets_one():
    assert command_of(LIMIT).client_order_id == "auto-1"


def test_a_block_form_asks_for_all_its_gpus_unless_it_says_fewer():
    block = command_of(BLOCK)
    assert block == PlaceBlock(
        command_id="c1",
        account="alice",
        client_order_id="auto-1",
        product="H100SXM80.CNE.F",
        start_s=1_795_352_400,
        periods=4,
        qty=2,
        min_qty=2,
        limit_price_micros=2_500_000,
        max_cost_micros=None,
        tif="GTG",
        stp="cancel_newest",
    )
    assert command_of(BLOCK | {"min_qty": 1}).min_qty == 1


def test_a_capacity_form_carries_its_window_and_floor():
    assert command_of(CAPACITY) == PostCapacity(
        command_id="c1",
        account="alice",
        client_order_id="auto-1",
        product="H100SXM80.CNE.F",
        node="n1",
        gpus=8,
        from_s=1_795_352_400,
        to_s=1_795_359_600,
        floor_price_micros=1_999_999,
        floor_curve_micros=None,
    )
    curve = CAPACITY | {"floor_price": None, "floor_curve": ["1.5"] * 24}
    assert command_of(curve).floor_curve_micros == (1_500_000,) * 24


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        (LIMIT | {"price": "0"}, "malformed_request"),
        (LIMIT | {"price": "999999999999"}, "malformed_request"),
        (BLOCK | {"start": "2026-11-22T13:00:00.5Z"}, "malformed_request"),
    ],
)
def test_a_form_that_makes_no_command_is_refused_with_a_code(fields, code):
    with pytest.raises(domain.BadForm) as refusal:
        command_of(fields)
    assert refusal.value.code == code


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        (LIMIT | {"price": "12.8400001"}, "bad_decimal"),
        (LIMIT | {"price": "-1"}, "bad_decimal"),
        (LIMIT | {"price": "1e3"}, "bad_decimal"),
        (LIMIT | {"price": 12.84}, "malformed_request"),
        (LIMIT | {"price": "twelve"}, "malformed_request"),
        (LIMIT | {"qty": "8"}, "malformed_request"),
        (LIMIT | {"qty": 0}, "malformed_request"),
        (LIMIT | {"post_only": "yes"}, "malformed_request"),
        (LIMIT | {"colour": "red"}, "malformed_request"),
        (LIMIT | {"kind": "stop"}, "malformed_request"),
        (LIMIT | {"account": "bob"}, "malformed_request"),
        (BLOCK | {"start": "2026-11-22T13:00:00"}, "malformed_request"),
    ],
)
def test_a_form_with_a_wrong_field_is_refused_and_never_rounded(fields, code):
    with pytest.raises(ValidationError) as refusal:
        ORDER_FORM.validate_python(fields)
    assert domain.code_of(refusal.value) == code


def test_the_words_of_a_wrong_form_name_the_field():
    with pytest.raises(ValidationError) as refusal:
        ORDER_FORM.validate_python(LIMIT | {"qty": 0})
    assert domain.words_of(refusal.value) == "qty: Input should be greater than or equal to 1"


def test_a_mass_cancel_keeps_its_filters():
    form = CancelForm(product="H100SXM80.CNE.F", side="sell")
    assert domain.mass_cancel_of(form, "alice", "c1") == MassCancel(
        command_id="c1", account="alice", product="H100SXM80.CNE.F", contract=None, side="sell"
    )


@pytest.mark.parametrize(
    ("fields", "scopes"),
    [
        (LIMIT, ("trade",)),
        (BLOCK, ("trade",)),
        (CAPACITY, ("operate",)),
        (LIMIT | {"side": "sell", "node": "n1"}, ("trade", "operate")),
    ],
)
def test_an_order_needs_the_scope_of_its_kind(fields, scopes):
    assert domain.scopes_for(ORDER_FORM.validate_python(fields)) == scopes


@pytest.mark.parametrize(
    ("fields", "notional_micros"),
    [
        (LIMIT, 8 * 12_840_000),
        ({"kind": "market", "contract": CONTRACT, "side": "buy", "qty": 8, "max_cost": "7.5"}, 7_500_000),
        (BLOCK, 2 * 4 * 2_500_000),
        (CAPACITY, 8 * 2 * 1_999_999),
    ],
)
def test_the_size_limit_of_a_key_counts_what_an_order_could_cost_at_most(fields, notional_micros):
    assert domain.notional_micros(command_of(fields), product_terms(period_s=3600)) == notional_micros


def test_a_short_period_costs_its_part_of_the_hour_rounded_up():
    assert domain.notional_micros(command_of(LIMIT | {"price": "1.00"}), product_terms(period_s=7)) == 8 * 1_945


def refusal(command: str, code: str) -> OrderRejected:
    header = {"shard": 0, "seq": 1, "in_offset": 0, "index": 0, "count": 1, "ts_ms": 0, "prev_link": "0" * 64}
    names = {"command_id": "c1", "account": "alice", "client_order_id": None, "order_id": 7, "why_unfilled": None}
    return OrderRejected(**header, **names, command=command, code=code)


@pytest.mark.parametrize(
    ("command", "code", "answer"),
    [
        ("place_order", "insufficient_funds", ("insufficient_funds", 422)),
        ("place_order", "client_order_id_conflict", ("client_order_id_conflict", 409)),
        ("place_order", "not_the_owner", ("not_the_owner", 422)),
        ("cancel_order", "not_the_owner", ("unknown_order", 404)),
        ("cancel_order", "unknown_order", ("unknown_order", 404)),
        ("cancel_order", "order_closed", ("order_closed", 422)),
    ],
)
def test_a_refusal_of_the_engine_keeps_its_code_and_gets_a_status(command, code, answer):
    assert domain.rejection_code(refusal(command, code)) == answer


def test_a_refusal_is_said_in_plain_words_even_when_it_has_none_of_its_own():
    assert domain.rejection_words("gate_closed").startswith("the contract's gate has closed")
    assert domain.rejection_words("stale_epoch") == "stale epoch"
