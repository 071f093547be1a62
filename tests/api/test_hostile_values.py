"""Every route of every service, as its own document lists them, with values that break readers: 4xx, never 5xx.

Tier: api. Two minutes on the shared exchange.
"""

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import pytest

from clients.http import Credentials
from tests.api.conftest import PRODUCT, contract_in, problem_of

SERVICES = ("gateway", "market_data", "delivery", "listings", "ledger", "terminal")
# L13, F11, A28: NUL and its brothers, in any text.
UNREADABLE = ["a\x00b", "\x1b[0m", "\x7f", "\x85"]
UNREADABLE_BYTES = ["%ED%A0%80", "%FF", "%C0%80"]
# F13, A28: well-formed text that a reader of numbers, dates or names may stumble over.
ODD = [
    "9223372036854775808",
    "9" * 400,
    "-9223372036854775809",
    "²",
    "٣",
    "NaN",
    "1e400",
    "",
    "'",
    "../x",
    "%",
    "c2VxOjk5OTk5OTk5OTk5OTk5OTk5OTk5",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    "H100SXM80.CNE.F-99999999",
    "😀" * 100,
]
ODD_VALUES = [2**63, -(2**63) - 1, 10**400, 1e308, True, None, [], {}, [[]], "٣", "²", "9" * 400, "😀" * 3000]
# What a parameter or member holds that is not the one under test, so that the route gets as far as that one.
USUAL = {"product": PRODUCT, "sym": PRODUCT, "contract": contract_in(30), "stream": "status"}
USUAL_TEXTS = ("7", "CNY", "12.84", "CNE", "H100SXM80", PRODUCT, contract_in(30), "GPU-00000000", "0" * 64, "0" * 128)


@dataclass
class Operation:
    """One operation of a service: where it is, what it takes, and a body that its form lets in."""

    method: str
    path: str
    in_path: list[str] = field(default_factory=list)
    in_query: list[str] = field(default_factory=list)
    required: list[str] = field(default_factory=list)
    in_body: list[str] = field(default_factory=list)
    usual_body: dict[str, Any] = field(default_factory=dict)
    statuses: frozenset[str] = frozenset()

    def at(self, name: str = "", value: str = "") -> tuple[str, str]:
        """Returns path and query with one parameter's value, as it is to be sent, and usual ones for the others."""
        parts = [_parameter(part) for part in self.path.split("/")]
        values = {each: USUAL.get(each, "7") for each in self.in_path} | {name: value}
        query = {each: USUAL.get(each, "7") for each in self.required}
        query |= {} if name in self.in_path or not name else {name: value}
        path = "/".join(part if each is None else values[each] for part, each in parts)
        return path, "&".join(f"{each}={text}" for each, text in query.items())


class Caller:
    """Sends requests signed over path and query as sent."""

    def __init__(self, url: str, key: Credentials):
        self.url, self._key = url, key
        self._client = httpx.Client(base_url=url, timeout=10)

    def send(self, operation: Operation, where: tuple[str, str], body: bytes = b"", **headers: Any) -> httpx.Response:
        """Returns the answer, of an endless one the head; waits where the key's budget is used up."""
        while (answer := self._send(operation.method, *where, body, headers)).status_code == 429:
            time.sleep(0.2)
        return answer

    def _send(self, method: str, path: str, query: str, body: bytes, headers: dict[str, Any]) -> httpx.Response:
        url = f"{path}?{query}" if query else path
        sent_path, _, sent_query = httpx.URL(url).raw_path.decode().partition("?")
        key = uuid4().hex  # each request counts, or what was taken once would refuse all others under its key
        signed = self._key.sign(method, sent_path, sent_query, body, key) | {"Idempotency-Key": key}
        request = self._client.build_request(method, url, content=body or None, headers=signed | headers)
        answer = self._client.send(request, stream=True)
        if answer.headers.get("content-type", "").startswith("text/event-stream"):
            answer.close()
        else:
            answer.read()
        return answer

    def operations(self) -> Iterator[Operation]:
        """Yields every operation of the service's OpenAPI document."""
        document = self._client.get("/openapi.json").json()
        for path, methods in document["paths"].items():
            for method, told in methods.items():
                found = Operation(method.upper(), path, statuses=frozenset(told["responses"]))
                queries = [each for each in told.get("parameters", ()) if each["in"] == "query"]
                found.in_path = [name for _, name in map(_parameter, path.split("/")) if name]
                found.in_query = [each["name"] for each in queries]
                found.required = [each["name"] for each in queries if each.get("required")]
                for form in _forms(document, told):
                    found.in_body = sorted({*found.in_body, *form.get("properties", {})})
                    found.usual_body = found.usual_body or _usual(document, form)
                yield found


def _parameter(part: str) -> tuple[str, str | None]:
    """Returns a part of a path, and the parameter's name where it is one."""
    return part, part[1:-1].removesuffix(":path") if part.startswith("{") else None


def _forms(document: dict[str, Any], told: dict[str, Any]) -> list[dict[str, Any]]:
    schema = told.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    if schema is None:
        return []
    return [_resolved(document | schema, each) for each in (schema.get("oneOf") or schema.get("anyOf") or [schema])]


def _resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref", "")
    if not reference:
        return schema
    models = document["components"]["schemas"] if "components" in reference else document["$defs"]
    return models[reference.rpartition("/")[2]]


def _usual(document: dict[str, Any], schema: dict[str, Any]) -> Any:
    """Makes a value that a schema lets in, as far as that is easily done."""
    document = document | ({"$defs": schema["$defs"]} if "$defs" in schema else {})
    schema = _resolved(document, schema)
    if choices := schema.get("enum"):
        return choices[0]
    if "const" in schema:
        return schema["const"]
    match schema.get("type"):
        case "object":
            wanted = schema.get("required", ())
            return {name: _usual(document, each) for name, each in schema["properties"].items() if name in wanted}
        case "array":
            return [_usual(document, schema["items"])] if "items" in schema else []
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
        case "string":
            fits = (text for text in USUAL_TEXTS if re.search(schema.get("pattern", ""), text))
            return "2030-01-01T00:00:00Z" if schema.get("format") == "date-time" else next(fits, "7")
    return None


@pytest.fixture(params=SERVICES)
def caller(request, users) -> Caller:
    return Caller(users.addresses[request.param], users.admin_key)


def test_a_control_character_is_400_wherever_it_stands(caller):
    for operation in caller.operations():
        for text in [quote(text, safe="") for text in UNREADABLE] + UNREADABLE_BYTES:
            for name in [*operation.in_path, *operation.in_query, "unknown"]:
                answer = caller.send(operation, operation.at(name, text))
                assert problem_of(answer) == (400, "malformed_request"), (operation, name, text)
        for escape in ("\\u0000", "\\ud800", "\\u001b"):
            for name in operation.in_body:
                answer = caller.send(operation, operation.at(), f'{{"{name}":"a{escape}"}}'.encode())
                assert problem_of(answer) == (400, "malformed_request"), (operation, name, escape)


def test_an_odd_value_is_never_a_fault_of_the_server(caller):
    faults = []
    for operation in caller.operations():
        body = json.dumps(operation.usual_body).encode() if operation.in_body else b""
        for text in ODD:
            value = quote(text, safe="")
            for name in [*(operation.in_path if value else ()), *operation.in_query]:
                answer = caller.send(operation, operation.at(name, value), body)
                if answer.status_code >= 500:
                    faults.append((answer.status_code, operation.method, operation.at(name, value)))
        for value in ODD_VALUES:
            for name in operation.in_body:
                odd = operation.usual_body | {name: value}
                answer = caller.send(operation, operation.at(), json.dumps(odd).encode())
                if answer.status_code >= 500:
                    faults.append((answer.status_code, operation.method, operation.path, odd))
    assert faults == []


@pytest.mark.parametrize("body", [b"[" * 100_000, b"1" * 100_000, b'{"a":' * 50_000, b"\xff", b"NaN", b"null", b'""'])
def test_a_body_that_is_no_object_is_never_a_fault_of_the_server(caller, body):
    operations = [each for each in caller.operations() if each.in_body]
    assert [each for each in operations if caller.send(each, each.at(), body).status_code >= 500] == []


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Idempotency-Key", "²"),
        ("Idempotency-Key", "a" * 10_000),
        ("Last-Event-ID", "²"),  # F13
        ("Last-Event-ID", "9" * 5_000),
        ("Host", "["),
        ("Content-Type", "²"),
        ("Accept", "²"),
        ("Origin", "²"),
        ("Hourbook-Timestamp", "²"),
        ("Hourbook-Timestamp", "9" * 5_000),
        ("Hourbook-Key", "²"),
        ("Hourbook-Nonce", "²" * 10),
        ("Hourbook-Signature", "²"),
    ],
)
def test_an_odd_header_is_never_a_fault_of_the_server(caller, header, value):
    for operation in caller.operations():
        body = json.dumps(operation.usual_body).encode() if operation.in_body else b""
        answer = caller.send(operation, operation.at(), body, **{header: value.encode("latin-1")})
        assert answer.status_code < 500, (operation, answer.text)
