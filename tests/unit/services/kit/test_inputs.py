"""What no request may hold (L13, F11, F13, A28): refused once, before any route; all else comes through."""

import httpx
import pytest
from fastapi import FastAPI, Request

from services.kit.bodies import BodyLimits
from services.kit.http import make_app
from services.kit.inputs import complaint_about, read_number
from services.kit.readiness import Readiness

UNREADABLE_BODIES = [
    b'{"a":"\\u0000"}',  # L13, F11
    b'{"\\u0000":1}',
    b'{"a":"\\u001b"}',
    b'{"a":"\\b"}',
    b'{"a":"\\f"}',
    b'{"a":"\\u007f"}',
    b'{"a":"\\u0085"}',
    b'{"a":"\\ud800"}',
    b'{"a":"\\udc00"}',
    b'{"a":"\\udc00\\ud800"}',
    b'{"a":"\\ud800x\\udc00"}',
    b'{"\\uD800":1}',
    b'{"a":"\\\\\\u0000"}',
    b'{"a":"\x00"}',
    b'{"a":"\x7f"}',
    b'{"a":"\xc2\x85"}',
    b'{"a":"\xed\xa0\x80"}',
    b'{"a":"\xff"}',
    '{"a":"x"}'.encode("utf-16"),
]
READABLE_BODIES = [
    b"",
    b'{"a":"\\\\u0000"}',  # an escaped backslash, then the letter u
    b'{"a":"\\n\\t\\r\\"\\/\\u000a"}',
    b'{"a":"\\ud83d\\ude00 \\u00e9"}',
    '{"a":"größer 上海 😀"}'.encode(),
    b'{\r\n\t"a": 1 }',
]
UNREADABLE_TEXT = ["%00", "%0A", "%1b", "%7F", "%C2%85", "%ED%A0%80", "%FF"]
BAD_HOSTS = [b"[", b"a b", b"a/b", b"evil.example\x00", b"x:y", b"user@host"]


@pytest.mark.parametrize("body", UNREADABLE_BODIES)
def test_a_body_with_a_control_character_or_half_a_pair_is_unreadable(body):
    assert complaint_about("/", b"", b"h", body) == "body: has a control character, or is not UTF-8"


@pytest.mark.parametrize("body", READABLE_BODIES)
def test_every_other_text_may_stand_in_a_body(body):
    assert complaint_about("/", b"", b"h", body) is None


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("007", 7),
        (str(2**63 - 1), 2**63 - 1),
        (str(2**63), None),  # A28
        ("9" * 5_000, None),
        ("²", None),  # F13
        ("٣", None),
        ("", None),
        ("-1", None),
        ("+1", None),
        ("1_0", None),
        (" 1", None),
        ("1\n", None),
    ],
)
def test_a_number_is_plain_digits_that_a_column_can_keep(text, number):
    assert read_number(text) == number


@pytest.fixture
def client() -> httpx.AsyncClient:
    app = make_app("test", Readiness(), BodyLimits(100))

    @app.post("/echo/{text}")
    async def echo(text: str, request: Request) -> dict[str, str]:
        return {"text": text, "body": (await request.body()).decode()}

    return client_of(app)


def client_of(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


@pytest.mark.parametrize("text", UNREADABLE_TEXT)
async def test_a_path_or_query_with_a_control_character_is_malformed(client, text):
    assert code_of(await client.post(f"/echo/{text}")) == (400, "malformed_request")
    assert code_of(await client.post(f"/echo/a?x={text}")) == (400, "malformed_request")
    assert code_of(await client.post(f"/echo/a?{text}=x")) == (400, "malformed_request")


@pytest.mark.parametrize("host", BAD_HOSTS)
async def test_a_host_that_is_none_is_malformed(client, host):
    answer = await client.post("/echo/a", headers=[(b"host", host)])
    assert code_of(answer) == (400, "malformed_request")


async def test_a_readable_request_comes_through_whole(client):
    answer = await client.post("/echo/größer%20上海?x=%C3%A9+1", content=b'{"a":"\\u00e9"}')
    assert answer.json() == {"text": "größer 上海", "body": '{"a":"\\u00e9"}'}


async def test_a_body_in_pieces_is_read_whole_and_measured_whole(client):
    async def pieces(count: int):
        for _ in range(count):
            yield b"0123456789"

    assert (await client.post("/echo/a", content=pieces(10))).json()["body"] == "0123456789" * 10
    assert code_of(await client.post("/echo/a", content=pieces(11))) == (413, "body_too_large")


async def test_a_path_with_a_slash_too_many_is_no_redirect_to_the_callers_host(client):
    answer = await client.post("/echo/a/", headers={"host": "evil.example"})
    assert code_of(answer) == (404, "not_found")
