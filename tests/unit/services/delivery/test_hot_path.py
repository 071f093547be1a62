"""The short way for reports: what goes it, and that its answers are those of the long way."""

import httpx
import pytest
from fastapi import FastAPI

from services.delivery.domain import BadSignature
from services.delivery.edge_api import add_edge_routes, add_error_handlers
from services.delivery.hot_path import HotPath, is_for_reports
from services.kit.bodies import BodyLimits
from services.kit.http import make_app
from services.kit.readiness import Readiness


@pytest.mark.parametrize(
    ("path", "is_so"),
    [
        ("/v1/nodes/node-1/reports", True),
        ("/v1/nodes/node-1/chain", False),
        ("/v1/nodes/node-1/x/reports", False),
        ("/v1/nodes/reports", False),
        ("/v1/nodes/node-1/reports/", False),
    ],
)
def test_only_a_nodes_reports_go_the_short_way(path, is_so):
    assert is_for_reports(path) is is_so


class Played:
    """Stands for the endpoint: answers with what it was asked, or fails."""

    async def take(self, node_id: str, body: bytes) -> bytes:
        match body:
            case b"forged":
                raise BadSignature("not the node's key", hint=1)
            case b"away":
                raise ConnectionError("gone")
        return b'{"node":"%s","said":"%s"}' % (node_id.encode(), body)


def long_way() -> FastAPI:
    app = make_app("delivery", Readiness(), BodyLimits(100))
    add_error_handlers(app)
    add_edge_routes(app, None, Played(), None, None)
    return app


@pytest.fixture
def short_way() -> HotPath:
    path = HotPath(long_way(), BodyLimits(100), Readiness())
    path.open(Played())
    return path


async def answer_of(app, body: bytes, method: str = "POST") -> tuple:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://venue") as client:
        answer = await client.request(method, "/v1/nodes/node-1/reports", content=body)
    document = answer.json()
    document.pop("request_id", None)
    return answer.status_code, answer.headers["content-type"], document


@pytest.mark.parametrize("body", [b"hello", b"forged", b"away", b"x" * 101, b"a\x00b"])
async def test_both_ways_answer_alike_whatever_comes(short_way, body):
    assert await answer_of(short_way, body) == await answer_of(long_way(), body)


async def test_what_is_no_post_goes_the_long_way(short_way):
    assert (await answer_of(short_way, b"", "GET"))[0] == 405


async def test_until_it_is_opened_the_application_answers():
    readiness = Readiness("PostgreSQL")
    closed = HotPath(make_app("delivery", readiness), BodyLimits(100), readiness)
    assert (await answer_of(closed, b"hello"))[0] == 503
