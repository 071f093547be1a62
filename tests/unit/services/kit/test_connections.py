"""One address has so many connections and open requests; everybody else comes in as if it were not there."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from fastapi import WebSocket
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from infra.ports import free_port
from services.kit.auth import public
from services.kit.connections import Connections, Places
from services.kit.http import make_app
from services.kit.readiness import Readiness
from services.kit.serving import serve
from services.kit.settings import Settings

ATTACKER, HONEST, PROXY = "127.0.0.2", "127.0.0.3", "127.0.0.4"
MOST = 3


@asynccontextmanager
async def served(**limits) -> AsyncIterator[int]:
    port, app = free_port(), make_app("test", Readiness())

    @app.get("/open")
    @public
    async def show() -> str:
        return "shown"

    @app.websocket("/socket")
    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        async for text in socket.iter_text():
            await socket.send_text(text)

    serving = asyncio.create_task(serve(app, Settings(**limits), port))
    await until(lambda: answer(port, "127.0.0.1"))
    yield port
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


async def until(told: Callable, wanted: tuple[int, str | None] = (200, None)) -> None:
    async with asyncio.timeout(10):
        while await told() != wanted:
            await asyncio.sleep(0.02)


async def answer(port: int, address: str, forwarded: str = "") -> tuple[int, str | None]:
    """Asks over a connection of its own; returns status and, of a problem, the code; (0, None) where nobody listens."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    except OSError:
        return 0, None
    head = f"X-Forwarded-For: {forwarded}\r\n" if forwarded else ""
    writer.write(f"GET /open HTTP/1.1\r\nHost: venue\r\n{head}Connection: close\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    status = int(head.split()[1])
    return status, json.loads(body)["code"] if status >= 400 else None


async def held(port: int, address: str) -> asyncio.StreamWriter:
    """Returns a connection that says nothing."""
    _, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    await asyncio.sleep(0.02)
    return writer


async def test_an_address_with_all_its_connections_is_refused_more_in_words_and_others_are_served():
    async with served(connections_per_address_max=MOST) as port:
        writers = [await held(port, ATTACKER) for _ in range(MOST)]
        assert await answer(port, ATTACKER) == (429, "too_many_requests")
        assert await answer(port, HONEST) == (200, None)
        writers.pop().close()
        await until(lambda: answer(port, ATTACKER))
        for writer in writers:
            writer.close()


async def test_a_socket_keeps_its_connections_place_until_it_ends():
    async with served(connections_per_address_max=MOST) as port:
        async with AsyncExitStack() as sockets:
            for _ in range(MOST):
                opened = connect(f"ws://127.0.0.1:{port}/socket", local_addr=(ATTACKER, 0))
                socket = await sockets.enter_async_context(opened)
                await socket.send("hello")
                assert await socket.recv() == "hello"
            assert await answer(port, ATTACKER) == (429, "too_many_requests")
        for _ in range(2 * MOST):
            await until(lambda: answer(port, ATTACKER))


async def test_a_trusted_proxy_brings_as_many_connections_as_it_wants_but_each_clients_open_requests_are_counted():
    limits = {"connections_per_address_max": 1, "open_requests_per_address_max": MOST}
    async with served(trusted_proxies=f"{PROXY}, 10.0.0.0/8", **limits) as port, AsyncExitStack() as sockets:
        url = f"ws://127.0.0.1:{port}/socket"
        for _ in range(MOST):
            options = {"additional_headers": {"X-Forwarded-For": "203.0.113.1"}, "local_addr": (PROXY, 0)}
            await sockets.enter_async_context(connect(url, **options))
        assert await answer(port, PROXY, "203.0.113.1") == (429, "too_many_requests")
        assert await answer(port, PROXY, "203.0.113.2") == (200, None)
        with pytest.raises((InvalidStatus, ConnectionClosed)):
            async with connect(url, **options) as socket:
                await socket.recv()


def test_places_of_nobody_take_no_memory():
    places = Places(1)
    assert [places.take("a"), places.take("a"), places.take("b")] == [True, False, True]
    places.give_back("a")
    places.give_back("b")
    assert places._taken == {}


def test_hosts_of_one_ipv6_network_share_their_places():
    connections = Connections(2, ["192.0.2.1/32"])
    first, second = connections.take("2001:db8::1"), connections.take("2001:db8::2")
    assert first and second and connections.take("2001:db8::3") is None
    first.end()
    first.end()
    assert connections.take("2001:db8::3") and connections.take("2001:db8::4") is None
    assert all(connections.take("192.0.2.1") for _ in range(5))
