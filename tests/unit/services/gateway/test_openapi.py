"""The OpenAPI document is the routes': each has its signature, its problems, and schemas that resolve."""

import json

import pytest

from services.gateway.api import build_api
from services.gateway.context import make_context
from services.gateway.settings import GatewaySettings
from services.kit.readiness import Readiness


@pytest.fixture(scope="module")
def document():
    return build_api(make_context(GatewaySettings(), Readiness())).openapi()


def test_the_document_lists_every_operation(document):
    operations = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    assert document["openapi"].startswith("3.1")
    assert operations == {
        "POST /v1/orders",
        "GET /v1/orders",
        "DELETE /v1/orders",
        "PATCH /v1/orders",
        "PATCH /v1/orders/{order_id}",
        "POST /v1/orders/batch",
        "POST /v1/orders/cancel-all",
        "POST /v1/cancel-all-after",
        "PUT /v1/protection",
        "POST /v1/capacity/reprice",
        "POST /v1/capacity/withdraw",
        "GET /v1/capacity/levels",
        "GET /v1/orders/{order_id}",
        "DELETE /v1/orders/{order_id}",
        "GET /v1/orders/by-client-id/{client_order_id}",
        "GET /v1/fills",
        "GET /v1/positions",
        "GET /v1/balances",
        "GET /v1/limits",
        "GET /v1/protection",
        "POST /v1/accounts",
        "POST /v1/keys",
        "GET /v1/keys",
        "DELETE /v1/keys/{key_id}",
        "POST /v1/node-keys",
        "GET /v1/enrolment-tokens",
        "DELETE /v1/enrolment-tokens/{token_id}",
        "POST /v1/enrolment-tokens",
    }


def test_every_reference_in_the_document_resolves(document):
    text = json.dumps(document)
    names = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert names - document["components"]["schemas"].keys() == set()


def test_every_operation_is_signed_and_answers_problems(document):
    problem = {"schema": {"$ref": "#/components/schemas/Problem"}}
    signed = {"HourbookKey": [], "HourbookTimestamp": [], "HourbookNonce": [], "HourbookSignature": []}
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert operation["security"] == ([] if path == "/v1/node-keys" else [signed])
            assert operation["responses"]["422"]["content"] == {"application/problem+json": problem}


def test_an_order_may_be_any_of_its_forms(document):
    schema = document["paths"]["/v1/orders"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert [form["$ref"].rpartition("/")[2] for form in schema["oneOf"]] == [
        "OrderForm",
        "BlockForm",
        "FlexForm",
        "CapacityForm",
        "ResellForm",
    ]


def test_every_post_takes_an_idempotency_key_but_what_a_node_signs_itself(document):
    without = [
        path
        for path, methods in document["paths"].items()
        if "post" in methods
        and "Idempotency-Key" not in {each["name"] for each in methods["post"].get("parameters", ())}
    ]
    assert without == ["/v1/node-keys"]
