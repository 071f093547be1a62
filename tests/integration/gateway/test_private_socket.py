"""What a client may do to the private socket costs himself a message, never the session, and nobody else anything."""

import asyncio
import json

import pytest
import websockets

from tests.integration.gateway.test_order_entry import bid


def url_of(venue) -> str:
    return f"{venue.url.replace('http', 'ws', 1)}/v1/ws"


async def answer(socket) -> dict:
    """The next message that is no heartbeat."""
    async with asyncio.timeout(10):
        while (message := json.loads(await socket.recv())).get("ch") == "hb":
            pass
        return message


MALFORMED = [
    b"\xff\xfe",
    "",
    "no json",
    "[]",
    '{"op":"fly"}',
    '{"op":"subscribe","channels":[]}',
    b'{"op":"subscribe"}',
]


async def test_f10_a_malformed_or_repeated_message_costs_an_error_and_not_the_session_and_others_nothing(venue):
    alice = await venue.join("alice", "read", "trade", money=100_000_000)
    await venue.join("bob", "read")
    async with websockets.connect(url_of(venue)) as socket:
        await socket.send(json.dumps(venue.keys["alice"].login()).encode())
        assert (await answer(socket))["account"] == "alice"
        for message in MALFORMED:
            await socket.send(message)
            told = await answer(socket)
            assert (told["op"], told["code"]) == ("error", "malformed_request"), message
        await socket.send(b'{"op":"ping"}')
        assert (await answer(socket))["op"] == "pong"
        # A channel that is named often is one channel.
        await socket.send(json.dumps({"op": "subscribe", "channels": ["orders"] * 20_000 + ["fills", "orders"]}))
        assert [(await answer(socket))["ch"] for _ in range(2)] == ["orders", "fills"]
        await alice.post("/v1/orders", json=bid())
        assert (await answer(socket))["type"] == "update"
        # A flood is told so, and waits at its sender's.
        for _ in range(500):
            await socket.send('{"op":"subscribe","channels":["orders","balances"]}')
        while (told := await answer(socket)).get("op") != "error":
            pass
        assert told["code"] == "too_many_requests"
        async with venue.feed("bob", "orders") as feed:
            assert (await feed.next())["ch"] == "orders"
    async with websockets.connect(url_of(venue)) as socket:
        await socket.send("x" * 2_000_000)
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await answer(socket)
    assert closed.value.rcvd.code == 1009


async def test_a4_a_key_has_only_so_many_sessions(venue):
    await venue.join("alice", "read")
    await venue.join("bob", "read")
    sockets = []
    try:
        for _ in range(venue.settings.sessions_per_key_max + 1):
            sockets.append(await websockets.connect(url_of(venue)))
            await sockets[-1].send(json.dumps(venue.keys["alice"].login()))
            told = await answer(sockets[-1])
        assert (told["op"], told["code"]) == ("error", "too_many_requests")
        await sockets.pop(0).close()
        await asyncio.sleep(0.2)
        for name in ("alice", "bob"):
            sockets.append(await websockets.connect(url_of(venue)))
            await sockets[-1].send(json.dumps(venue.keys[name].login()))
            assert (await answer(sockets[-1]))["account"] == name
    finally:
        for socket in sockets:
            await socket.close()
