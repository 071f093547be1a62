"""What a stranger sends before anybody looks at it is bounded: heads, URLs, and the time that they take."""

import asyncio
import json
import resource
import time
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import Request

from infra.ports import free_port
from services.kit.auth import public
from services.kit.http import make_app
from services.kit.http_protocol import OneWrite
from services.kit.readiness import Readiness
from services.kit.serving import serve
from services.kit.settings import Settings

HEAD_S = 1.0


@pytest.fixture
async def port() -> AsyncIterator[int]:
    port, app = free_port(), make_app("test", Readiness())

    @app.post("/echo")
    @public
    async def echo(request: Request) -> int:
        return len(await request.body())

    serving = asyncio.create_task(serve(app, Settings(head_within_s=HEAD_S), port))
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            break
        except OSError:
            await asyncio.sleep(0.02)
    writer.close()
    yield port
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


async def said(port: int, *parts: bytes, repeat: int = 1) -> tuple[int, str, int]:
    """Sends parts, the last one over and over; returns status and code of the answer, and how much was sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    sent = 0
    try:
        for part in (*parts[:-1], *[parts[-1]] * repeat):
            writer.write(part)
            await writer.drain()
            sent += len(part)
    except OSError:
        pass
    answer = b""
    try:
        async with asyncio.timeout(10):
            answer = await reader.read()
    except OSError:
        pass
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return (int(head.split()[1]), json.loads(body)["code"], sent) if head else (0, "", sent)


@pytest.mark.parametrize(
    ("start", "status"),
    [
        (b"GET / HTTP/1.1\r\nX-A: ", {0, 431}),
        (b"GET / HTTP/1.1\r\n", {0, 431, 400}),
        (b"GET /", {0, 414}),
        (b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-A: ", {0, 431}),
    ],
)
async def test_a21_a_head_without_end_is_refused_and_takes_no_memory(port, start, status):
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer = await said(port, start, b"a" * 65_536, repeat=1_800)
    assert answer[0] in status
    assert answer[2] < 20_000_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 30_000


async def test_a_head_just_above_the_bounds_is_refused_with_a_problem_and_one_below_is_served(port):
    line = b"X-A: " + b"a" * 1_000 + b"\r\n"
    assert (await said(port, b"GET / HTTP/1.1\r\nHost: a\r\n" + line * 40 + b"\r\n"))[:2] == (431, "head_too_large")
    assert (await said(port, b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"))[:2] == (414, "url_too_long")
    assert (await said(port, b"no HTTP at all\r\n\r\n"))[:2] == (400, "malformed_request")
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        answers = [await client.post("/echo", content=b"x" * 100_000, headers={"X-A": "a" * 20_000}) for _ in range(3)]
    assert [(answer.status_code, answer.text) for answer in answers] == [(200, "100000")] * 3


@pytest.mark.parametrize("half", [b"", b"GET / HTTP/1.1\r\n", b"GET /"])
async def test_a32_a_head_that_does_not_arrive_is_given_up(port, half):
    began = time.monotonic()
    assert (await said(port, half))[:2] == (408, "request_timeout")
    assert HEAD_S * 0.9 < time.monotonic() - began < 8


@pytest.mark.parametrize("half", [b"GET / HTTP/1.1\r\n", b"GET /"])
async def test_a32_a_later_head_on_a_kept_connection_is_given_up_too(port, half):
    request = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200") and await reader.readexactly(1) == b"2"
    began = time.monotonic()
    writer.write(request + half)
    answers = await reader.read()
    writer.close()
    assert answers.startswith(b"HTTP/1.1 200") and b"HTTP/1.1 408" in answers
    assert HEAD_S * 0.9 < time.monotonic() - began < 8


async def test_a_head_above_the_bounds_is_refused_behind_another_request_in_the_same_packet(port):
    request = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab"
    large = b"GET / HTTP/1.1\r\nHost: a\r\n" + (b"X-A: " + b"a" * 1_000 + b"\r\n") * 40 + b"\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request + large)
    answers = await reader.read()
    writer.close()
    assert b"HTTP/1.1 431" in answers


class Transport:
    """Notes what is done with it."""

    def __init__(self):
        self.done = []

    def is_closing(self) -> bool:
        return "closed" in self.done

    def resume_reading(self) -> None:
        self.done.append("resumed")

    def write(self, data: bytes) -> None:
        self.done.append(data)

    def write_eof(self) -> None:
        self.done.append("eof")

    def close(self) -> None:
        self.done.append("closed")


async def test_what_is_written_in_one_turn_of_the_loop_leaves_in_one_piece_and_before_the_end():
    inner = Transport()
    transport = OneWrite(inner, asyncio.get_running_loop())
    transport.write(b"head ")
    transport.write(b"body")
    assert inner.done == []
    await asyncio.sleep(0)
    transport.write(b"more")
    transport.write_eof()
    transport.write(b"last")
    transport.close()
    transport.write(b"too late")
    await asyncio.sleep(0)
    assert inner.done == [b"head body", b"more", "eof", b"last", "closed"]
