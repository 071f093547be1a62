"""Whatever fails behind the guard is a problem document and one bounded line; signed answers are for no cache."""

import asyncio
import json

import httpx
import pytest
import structlog

from services.kit.http import make_app
from services.kit.readiness import Readiness


@pytest.fixture
def app():
    app = make_app("test", Readiness())

    @app.get("/fails")
    async def fails(what: str) -> None:
        raise RuntimeError(what)

    @app.get("/stopped")
    async def stopped() -> None:
        raise asyncio.CancelledError

    @app.get("/fine")
    async def fine() -> dict[str, str]:
        return {}

    return app


def client_of(app) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://venue")


async def test_a23_a_fault_is_a_problem_document_and_one_line_of_bounded_length(app):
    with structlog.testing.capture_logs() as lines:
        async with client_of(app) as client:
            answer = await client.get("/fails", params={"what": "x" * 4_000})
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["order_state"]) == (500, "internal_error", "unknown")
    assert answer.headers["content-type"] == "application/problem+json"
    [line] = lines
    assert (line["event"], line["request_id"]) == ("request failed", problem["request_id"])
    assert len(json.dumps(line)) < 1_500
    assert "test_request_guard.py" in line["where"]


async def test_a20_a_request_that_is_cut_off_by_a_stop_is_told_so_and_may_be_repeated(app):
    async with client_of(app) as client:
        answer = await client.get("/stopped")
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["order_state"]) == (503, "unavailable", "unknown")
    assert problem["retryable"] is True


async def test_a35_no_cache_keeps_the_answer_to_a_signed_request(app):
    async with client_of(app) as client:
        for path in ("/fine", "/nothing"):
            signed, unsigned = await client.get(path, headers={"Hourbook-Key": "k"}), await client.get(path)
            assert [each.headers.get("cache-control") for each in (signed, unsigned)] == ["no-store", None]


async def test_f21_a_wrong_method_is_told_which_are_right(app):
    async with client_of(app) as client:
        answer = await client.delete("/fine")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")


async def test_a35_the_page_of_the_document_loads_nothing_from_anywhere(app):
    async with client_of(app) as client:
        page = await client.get("/docs")
    assert (page.status_code, "/fine" in page.text, "<script" in page.text) == (200, True, False)
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
