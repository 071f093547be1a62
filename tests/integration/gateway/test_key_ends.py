"""A key ends when it ends: sockets, timers and the administrator's key, over restarts and lost tables."""

import asyncio
import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import asyncpg
import websockets

from clients.http import new_credentials, open_async_client
from tests.integration.gateway.conftest import contract_in
from tests.integration.gateway.test_order_entry import bid

MONEY = 100_000_000


async def log_in(socket, key) -> None:
    await socket.send(json.dumps(key.login()))
    assert json.loads(await socket.recv())["op"] == "login"


async def told_until_closed(socket) -> list[str]:
    codes = []
    async with asyncio.timeout(20):
        with suppress(websockets.ConnectionClosed):
            while True:
                message = json.loads(await socket.recv())
                codes += [message["code"]] if message.get("op") == "error" else []
    return codes


async def test_a_revoked_keys_socket_is_closed_and_its_timers_cancel_nothing(venue):
    alice = await venue.join("alice", "read", "trade", money=MONEY)
    other = new_credentials("key-other")
    form = {"account": "alice", "public_key": other.public_key, "scopes": ["read", "trade"], "key_id": "key-other"}
    await venue.admin.post("/v1/keys", json=form)
    order = (await alice.post("/v1/orders", json=bid(contract=contract_in(6)))).json()["order"]
    url = f"{venue.url.replace('http', 'ws', 1)}/v1/ws"
    async with websockets.connect(url) as socket, open_async_client(venue.url, other) as thief:
        await log_in(socket, other)
        await socket.send(json.dumps({"op": "cancel_on_disconnect", "timeout_s": 3}))
        while json.loads(await socket.recv()).get("op") != "cancel_on_disconnect":
            pass
        set_by_rest = await thief.post("/v1/cancel-all-after", json={"timeout_s": 3, "session": "gateway"})
        assert set_by_rest.status_code == 200
        began = asyncio.get_running_loop().time()
        await venue.admin.delete("/v1/keys/key-other")
        assert await told_until_closed(socket) == ["key_ended"]
        assert (socket.close_code, asyncio.get_running_loop().time() - began < 2) == (4401, True)
    await asyncio.sleep(4)
    assert (await alice.get(f"/v1/orders/{order['order_id']}")).json()["status"] == "new"


async def test_an_expired_keys_socket_is_closed(venue):
    await venue.join("alice", "read")
    key = new_credentials("short")
    expires = datetime.now(UTC) + timedelta(seconds=3)
    form = {"account": "alice", "public_key": key.public_key, "scopes": ["read"], "key_id": "short"}
    await venue.admin.post("/v1/keys", json=form | {"expires": expires.isoformat(timespec="seconds")})
    async with websockets.connect(f"{venue.url.replace('http', 'ws', 1)}/v1/ws") as socket:
        await log_in(socket, key)
        assert await told_until_closed(socket) == ["key_ended"]
        assert socket.close_code == 4401


async def test_a_revoked_administrator_stays_revoked_over_a_restart(quiet_venue):
    async with quiet_venue.gateway():
        assert (await quiet_venue.admin.delete("/v1/keys/admin")).json()["revoked"] is True
        assert (await quiet_venue.admin.get("/v1/keys")).json()["code"] == "unknown_key"
    async with quiet_venue.gateway():
        assert (await quiet_venue.admin.get("/v1/keys")).json()["code"] == "unknown_key"


async def test_keys_are_listed_and_revoked_after_the_tables_are_lost(quiet_venue):
    async with quiet_venue.matching(), quiet_venue.gateway():
        await quiet_venue.join("alice", "read")
        before = (await quiet_venue.admin.get("/v1/keys", params={"account": "alice"})).json()["items"]
    connection = await asyncpg.connect(quiet_venue.settings.database_url)
    await connection.execute("drop schema gateway cascade")
    await connection.close()
    async with quiet_venue.matching(), quiet_venue.gateway():
        after = (await quiet_venue.admin.get("/v1/keys", params={"account": "alice"})).json()["items"]
        ended = await quiet_venue.admin.delete("/v1/keys/key-alice")
        form = {"account": "alice", "public_key": new_credentials("new").public_key, "scopes": ["read"]}
        added = await quiet_venue.admin.post("/v1/keys", json=form)
        taken = await quiet_venue.admin.post("/v1/keys", json=form | {"key_id": "key-alice"})
    assert ([each["key_id"] for each in before], after) == (["key-alice"], before)
    assert (ended.status_code, ended.json()["revoked"]) == (200, True)
    assert (added.status_code, taken.status_code) == (201, 409)
