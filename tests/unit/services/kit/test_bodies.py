"""Bodies in memory on a real socket: of all at a time so many bytes, whoever sends them, and none for ever."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import Request

from infra.ports import free_port
from services.kit.bodies import BodyLimits
from services.kit.http import make_app
from services.kit.readiness import Readiness
from services.kit.serving import serve
from services.kit.settings import Settings

MIB = 2**20
SMALL, LARGE = BodyLimits(MIB, 4 * MIB, 1.0), BodyLimits(2 * MIB, 8 * MIB, 5.0)
CALLERS = 40


class Place:
    """A service that keeps what it is sent until it may answer."""

    def __init__(self) -> None:
        self.port, self.may_answer = free_port(), asyncio.Event()
        self.held_bytes = self.held_bytes_max = 0
        self.app = make_app("test", Readiness(), SMALL, (lambda path: path == "/large", LARGE))
        self.app.post("/small")(self.keep)
        self.app.post("/large")(self.keep)

    async def keep(self, request: Request) -> dict[str, int]:
        """Holds a body as a verification that waits for its turn does."""
        size = len(await request.body())
        self.held_bytes += size
        self.held_bytes_max = max(self.held_bytes_max, self.held_bytes)
        await self.may_answer.wait()
        self.held_bytes -= size
        return {"bytes": size}


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    place = Place()
    serving = asyncio.create_task(serve(place.app, Settings(), place.port))
    async with httpx.AsyncClient() as client, asyncio.timeout(20):
        while True:
            try:
                await client.get(f"http://127.0.0.1:{place.port}/healthz")
                break
            except httpx.TransportError:
                await asyncio.sleep(0.02)
    yield place
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


def client_of(place: Place) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=2 * CALLERS)
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{place.port}", timeout=20, limits=limits)


async def in_pieces(size: int):
    """A body whose length nobody knows beforehand."""
    for _ in range(size // 65_536):
        yield b"x" * 65_536


@pytest.mark.parametrize("make_body", [lambda: b"x" * 2 * MIB, lambda: in_pieces(2 * MIB)], ids=["length", "pieces"])
async def test_of_many_large_bodies_at_once_so_many_are_held_and_the_rest_come_again(place, make_body):
    async with client_of(place) as client:
        sent = [asyncio.create_task(client.post("/large", content=make_body())) for _ in range(CALLERS)]
        waiting = set(sent)
        async with asyncio.timeout(15):
            while len(waiting) > LARGE.total_bytes_max // LARGE.bytes_max:
                _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        other = asyncio.create_task(client.post("/small", content=b"x" * MIB))  # has room of its own
        await asyncio.sleep(0.1)
        assert not other.done()
        place.may_answer.set()
        answers = [await each for each in sent]
        assert (await other).json() == {"bytes": MIB}
    counted = Counter(answer.status_code for answer in answers)
    held = counted.pop(200)
    assert 1 <= held <= 4
    assert counted == {503: CALLERS - held}
    refusals = {
        (each.json()["code"], each.json()["retryable"], each.headers["retry-after"])
        for each in answers[:]
        if each.status_code == 503
    }
    assert refusals == {("unavailable", True, "1")}
    assert place.held_bytes_max <= LARGE.total_bytes_max + SMALL.total_bytes_max
    assert place.held_bytes == 0


async def test_when_they_are_answered_there_is_room_again(place):
    place.may_answer.set()
    async with client_of(place) as client:
        for _ in range(3 * LARGE.total_bytes_max // LARGE.bytes_max):
            assert (await client.post("/large", content=b"x" * LARGE.bytes_max)).status_code == 200


async def test_a_body_that_does_not_come_whole_gives_its_room_back(place):
    place.may_answer.set()
    head = b"POST /small HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % MIB
    stalled = [await asyncio.open_connection("127.0.0.1", place.port) for _ in range(8)]
    for _, writer in stalled:
        writer.write(head + b"x" * (MIB // 2 - 1))
        await writer.drain()
    async with client_of(place) as client:
        async with asyncio.timeout(10):
            while (await client.post("/small", content=b"x" * MIB)).status_code != 503:
                await asyncio.sleep(0.02)
        answers = [await asyncio.wait_for(reader.readline(), 10) for reader, _ in stalled]
        assert Counter(answers) == {b"HTTP/1.1 408 Request Timeout\r\n": 8}
        assert (await client.post("/small", content=b"x" * MIB)).status_code == 200
    for _, writer in stalled:
        writer.close()
