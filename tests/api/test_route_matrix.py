"""Every route of every service, as its own document lists them, for every sort of caller, with odd values by a seed.

No answer is a fault of the server, every refusal is a problem document, what needs a key is closed without one, and
what belongs to another cannot be told from what never was. Tier: api.
"""

import json
import os
import random
from urllib.parse import quote

import httpx
import pytest

from clients.http import result_of
from tests.api.conftest import bid
from tests.api.test_hostile_values import ODD, ODD_VALUES, SERVICES, Caller, Operation

SEED = int(os.environ.get("HOURBOOK_TEST_SEED", "7"))
FIELDS = {"type", "title", "status", "code", "detail", "retryable", "order_state", "request_id"}
SIGNED_BY_OTHERS = {
    "gateway": {"/v1/node-keys"},
    "delivery": {
        "/v1/inspections",
        "/v1/leases/{lease_id}/challenges",
        "/v1/leases/{lease_id}/place",
        "/v1/leases/{lease_id}/reports",
        "/v1/nodes",
        "/v1/nodes/{node_id}/chain",
        "/v1/nodes/{node_id}/challenges/next",
        "/v1/nodes/{node_id}/challenges/{challenge_id}/commit",
        "/v1/nodes/{node_id}/challenges/{challenge_id}/open",
        "/v1/nodes/{node_id}/challenges/{challenge_id}/residency",
        "/v1/nodes/{node_id}/disputes",
        "/v1/nodes/{node_id}/gpus",
        "/v1/nodes/{node_id}/hub",
        "/v1/nodes/{node_id}/leases/{lease_id}",
        "/v1/nodes/{node_id}/reports",
        "/v1/nodes/{node_id}/signed-maintenance",
        "/v1/nodes/{node_id}/signed-recalls",
    },
}
OWNERS_ONLY = {"order_id", "position_id", "listing_id", "client_order_id", "dispute_id", "key_id", "token_id"}


class NoKey:
    """Signs nothing."""

    def sign(self, *request: object) -> dict[str, str]:
        return {}


@pytest.fixture(params=SERVICES)
def service(request) -> str:
    return request.param


@pytest.fixture
def callers(users, trader, stranger, reader, service) -> dict[str, Caller]:
    """One of each sort, by name."""
    url = users.addresses[service]
    keys = {"nobody": NoKey(), "admin": users.admin_key}
    keys |= {"owner": trader.key, "rival": stranger.key, "reader": reader.key}
    return {name: Caller(url, key) for name, key in keys.items()}


def odd_request(chance: random.Random, operation: Operation) -> tuple[tuple[str, str], bytes]:
    """A request with one odd value, or with none."""
    where, body = operation.at(), dict(operation.usual_body)
    names = [*operation.in_path, *operation.in_query]
    if names and chance.random() < 0.5:
        name = chance.choice(names)
        odd = chance.choice([odd for odd in ODD if odd or name in operation.in_query])
        where = operation.at(name, quote(odd, safe=""))
    elif operation.in_body and chance.random() < 0.8:
        body[chance.choice(operation.in_body)] = chance.choice(ODD_VALUES)
    return where, json.dumps(body).encode() if operation.in_body else b""


def test_no_answer_to_anybody_is_a_fault_and_every_refusal_is_a_problem_document(callers):
    chance, faults = random.Random(SEED), []
    operations = list(callers["admin"].operations())
    for name, caller in callers.items():
        for operation in operations:
            where, body = odd_request(chance, operation)
            answer = caller.send(operation, where, body)
            is_problem = answer.status_code < 400 or (
                answer.headers["content-type"] == "application/problem+json"
                and answer.json().keys() >= FIELDS
                and answer.json()["status"] == answer.status_code
            )
            is_right = answer.status_code < 500 and (answer.status_code == 401) <= (name == "nobody")
            is_right = is_right and str(answer.status_code) in operation.statuses
            if not (is_problem and is_right):
                faults.append((SEED, name, operation.method, where, body[:200], answer.status_code, answer.text[:200]))
    assert faults == []


def test_what_needs_a_key_is_closed_without_one(callers):
    """Nothing is changed or ended without one, and every refusal says which way to sign."""
    for operation in callers["admin"].operations():
        body = json.dumps(operation.usual_body).encode() if operation.in_body else b""
        without = callers["nobody"].send(operation, operation.at(), body)
        if operation.method in ("PUT", "PATCH", "DELETE"):
            assert without.status_code == 401, operation
        if without.status_code == 401:
            assert without.headers["www-authenticate"].startswith("Hourbook"), operation


def test_what_is_anothers_cannot_be_told_from_what_never_was(callers, trader):
    order = result_of(trader.client.post("/v1/orders", json=bid(client_order_id="matrix")))["order"]
    for name in ("rival", "reader"):
        for operation in callers[name].operations():
            if not (named := OWNERS_ONLY & {*operation.in_path}):
                continue
            body = json.dumps(operation.usual_body).encode() if operation.in_body else b""
            [parameter] = named
            own, never = ("matrix", "no-such") if parameter == "client_order_id" else (order["order_id"], 2**40)
            answers = []
            for value in (str(own), str(never)):
                answer = callers[name].send(operation, operation.at(parameter, value), body)
                answers.append((answer.status_code, answer.json()["code"] if answer.content else ""))
            assert answers[0] == answers[1], (name, operation, answers)
            assert answers[0][0] in (204, 400, 403, 404, 422), (name, operation, answers)


def test_every_post_that_a_key_signs_takes_an_idempotency_key(callers, service):
    """What agents, meters and beacons sign themselves is known by its signature, or by its place in a chain."""
    document = httpx.get(f"{callers['admin'].url}/openapi.json").json()
    without = {
        path
        for path, methods in document["paths"].items()
        if "post" in methods
        and "idempotency-key" not in {each["name"].lower() for each in methods["post"].get("parameters", ())}
    }
    assert without == SIGNED_BY_OTHERS.get(service, set())


def test_f16_every_document_says_who_signs_what_a_refusal_is_and_refers_to_what_it_has(callers):
    """So that what a generator makes of it takes every answer."""
    document = httpx.get(f"{callers['admin'].url}/openapi.json").json()
    schemas, text = document["components"]["schemas"], json.dumps(document)
    assert {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]} - schemas.keys() == set()
    assert ("#/$defs/" in text, "HTTPValidationError" in text) == (False, False)
    assert schemas["Problem"]["additionalProperties"] is True
    signed = {name: [] for name in document["components"]["securitySchemes"]}
    assert len(signed) == 4
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["security"] in ([], [signed]), (method, path)
            assert operation["responses"]["404"]["content"].keys() == {"application/problem+json"}, (method, path)
    for operation in callers["nobody"].operations():
        if operation.method == "GET":
            is_open = callers["nobody"].send(operation, operation.at()).status_code != 401
            assert is_open is (document["paths"][operation.path]["get"]["security"] == []), operation
