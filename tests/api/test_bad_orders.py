"""Orders that break a rule are refused with its code, and change nothing."""

import time

import pytest

from schemas.ids import contract_name
from tests.api.conftest import NODE_PRODUCT, bid, contract_in, define, problem_of
from tests.fixtures.event_log import terms

pytestmark = pytest.mark.usefixtures("nothing_changes")

SHORT_PRODUCT = "APITEST80.USE.I"
SHORT_PERIOD_S = 10


def refused(user, **changes) -> tuple[int, str]:
    return problem_of(user.client.post("/v1/orders", json=bid(**changes)))


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"order"', b"\xff\xfe", b'{"contract":'])
def test_a_body_that_is_no_form_is_malformed(trader, body):
    answer = trader.client.post("/v1/orders", content=body)
    assert problem_of(answer) == (400, "malformed_request")


def test_a_body_over_the_limit_is_not_even_read(trader):
    answer = trader.client.post("/v1/orders", content=b" " * 300_000)
    assert problem_of(answer) == (413, "body_too_large")


def test_a_body_over_the_limit_is_cut_off_where_it_does_not_say_its_length(trader):
    headers = trader.key.sign("POST", "/v1/orders", body=b" " * 300_000)
    answer = trader.client.post("/v1/orders", content=(b" " * 1_000 for _ in range(300)), headers=headers, auth=None)
    assert problem_of(answer) == (413, "body_too_large")


def test_an_unknown_field_is_refused_and_named(trader):
    answer = trader.client.post("/v1/orders", json=bid(colour="red"))
    assert problem_of(answer) == (400, "malformed_request")
    assert "colour" in answer.json()["detail"]


@pytest.mark.parametrize(
    "changes",
    [
        {"qty": "1"},
        {"qty": 1.5},
        {"qty": 0},
        {"qty": True},
        {"price": 0.5},
        {"side": "hold"},
        {"tif": "DAY"},
        {"kind": "stop"},
        {"post_only": "true"},
        {"contract": "H100SXM80.CNE.F"},
        {"client_order_id": ""},
        {"client_order_id": "x" * 65},
        {"client_order_id": 'quo"te'},
    ],
)
def test_a_field_of_a_wrong_type_or_form_is_malformed(trader, changes):
    assert refused(trader, **changes) == (400, "malformed_request")


@pytest.mark.parametrize("price", ["0.1234567", "-0.50", "1e-1", "0,50"])
def test_a_price_that_is_no_decimal_with_six_decimals_is_never_rounded(trader, price):
    assert refused(trader, price=price)[0] == 400


def test_a_price_off_the_tick_is_refused(trader):
    assert refused(trader, price="0.505") == (422, "off_tick")


def test_a_quantity_off_the_lot_is_refused(trader):
    assert refused(trader, contract=contract_in(30, NODE_PRODUCT), qty=4) == (422, "off_lot")


@pytest.mark.parametrize("changes", [{"price": None}, {"kind": "market"}, {"max_cost": "5.00"}, {"node": "n1"}])
def test_terms_that_do_not_go_together_are_refused(trader, changes):
    assert refused(trader, **changes) == (422, "bad_terms")


def test_a_product_that_the_venue_does_not_have_is_unknown(trader):
    assert refused(trader, contract="H900SXM80.CNE.F-26112213") == (422, "unknown_product")


@pytest.mark.parametrize("contract", [contract_in(24 * 400), f"{contract_in(30)}3000"])
def test_a_contract_that_is_not_listed_is_refused(trader, contract):
    assert refused(trader, contract=contract) == (422, "unlisted_contract")


def test_a_contract_past_its_gate_is_refused(trader, exchange):
    short = terms(
        SHORT_PRODUCT,
        currency="USD",
        period_s=SHORT_PERIOD_S,
        gate_lead_s=2,
        grace_s=2,
        final_after_s=10,
        horizon_periods=4,
    )
    defined_s = int(time.time())
    define(exchange, short)
    start_s = (defined_s // SHORT_PERIOD_S + 2) * SHORT_PERIOD_S
    time.sleep(max(0.0, start_s - 1.5 - time.time()))
    contract = contract_name(SHORT_PRODUCT, start_s, SHORT_PERIOD_S)
    assert refused(trader, contract=contract) == (422, "gate_closed")


def test_an_order_that_costs_more_than_there_is_is_refused_and_says_so(trader):
    answer = trader.client.post("/v1/orders", json=bid(qty=100, price="20.00"))
    assert problem_of(answer) == (422, "insufficient_funds")
    assert answer.json()["detail"].startswith("not enough money is available")


def test_an_order_that_cannot_be_filled_at_once_says_what_was_missing(trader):
    answer = trader.client.post("/v1/orders", json=bid(tif="FOK", contract=contract_in(200)))
    assert problem_of(answer) == (422, "fok_not_filled")
    why = answer.json()["why_unfilled"]
    assert (why["reason"], why["missing_gpus"]) == ("no_liquidity", 1)


@pytest.mark.parametrize(("node", "code"), [(None, "unbacked_ask"), ("no-such-node", "unknown_node")])
def test_a_sell_without_a_node_that_backs_it_is_refused(trader, node, code):
    assert refused(trader, side="sell", node=node) == (422, code)


def test_another_order_under_a_client_id_is_a_conflict(trader):
    assert refused(trader, client_order_id="resting", qty=2) == (409, "client_order_id_conflict")


def test_an_order_of_another_cannot_be_canceled_or_seen(trader, stranger):
    order_id = trader.client.get("/v1/orders/by-client-id/resting").json()["order_id"]
    assert problem_of(stranger.client.delete(f"/v1/orders/{order_id}")) == (404, "unknown_order")
    assert problem_of(stranger.client.get(f"/v1/orders/{order_id}")) == (404, "not_found")
    answer = stranger.client.delete("/v1/orders", params={"client_order_id": "resting"})
    assert problem_of(answer) == (404, "unknown_order")


@pytest.mark.parametrize("order_id", ["999999999", "0", "-1", "one", str(2**70)])
def test_an_order_that_does_not_exist_is_not_found(trader, order_id):
    assert problem_of(trader.client.delete(f"/v1/orders/{order_id}"))[0] == 404


@pytest.mark.parametrize("query", ["cursor=nonsense", "limit=0", "limit=many", "status=odd", "contract=x", "side=up"])
def test_a_list_with_a_wrong_parameter_is_malformed(trader, query):
    assert problem_of(trader.client.get(f"/v1/orders?{query}")) == (400, "malformed_request")


def test_an_unknown_route_and_a_wrong_method_are_said_so(trader):
    assert problem_of(trader.client.get("/v1/nothing")) == (404, "not_found")
    assert problem_of(trader.client.put("/v1/orders")) == (405, "method_not_allowed")


def test_a_key_for_an_account_that_does_not_exist_is_refused(users):
    form = {"account": "nobody-at-all", "public_key": "0" * 64, "scopes": ["read"]}
    assert problem_of(users.admin.post("/v1/keys", json=form)) == (404, "not_found")


@pytest.mark.parametrize(
    "changes", [{"scopes": []}, {"scopes": ["root"]}, {"public_key": "00"}, {"ip_networks": ["everywhere"]}]
)
def test_a_key_with_a_wrong_field_is_malformed(users, trader, changes):
    form = {"account": trader.account, "public_key": "0" * 64, "scopes": ["read"]} | changes
    assert problem_of(users.admin.post("/v1/keys", json=form)) == (400, "malformed_request")
