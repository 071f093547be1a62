"""One attacker at twenty times each limit: what it is served stays within the limit, the rest is refused in words.

The limits are lowered so that this is quick, and each test attacks from an address of its own. Neither memory nor an
honest client's waiting may grow with it. `limits.py` is the table of all limits.
"""

import asyncio
import json
import time
from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from websockets.exceptions import ConnectionClosed

from infra.exchange import RunningExchange, describe, free_ports, running
from tests.api.attacker import Answer, Caller, Outcome, answer_of, delays_ms, p99, request
from tests.api.conftest import PRODUCT, User, Users, bid, contract_in, define
from tests.fixtures.event_log import terms

pytestmark = pytest.mark.slow
TIMES = 20
SERVICES = ("gateway", "market_data", "delivery", "listings", "ledger", "matching")
SIGNED_AT = {"delivery": "/v1/receipts", "listings": "/v1/sales/none", "ledger": "/v1/claims"}
SIGNED_AT |= {"matching": "/v1/engine/balances"}
UNSIGNED_PER_S, REFUSED_PER_S, KEY_PER_S = 5, 2, 10  # bursts of 10, 10 and 4 seconds
ORDERS_PER_S, READS_PER_S, MESSAGES_PER_S = 20, 100, 10  # bursts of 2 seconds
SESSIONS, CONNECTIONS, OPEN, STREAMS, STREAMS_PER_S, SSH_KEYS = 3, 20, 10, 2, 10, 1
WITHIN_S, PAGE = 2, 5
BODY_BYTES, BODIES_BYTES, HEAD_BYTES, URL_BYTES, MESSAGE_BYTES = 100_000, 500_000, 32_768, 8_192, 50_000
LOWERED = {
    "UNSIGNED_REQUESTS_PER_S": UNSIGNED_PER_S,
    "REFUSED_SIGNATURES_PER_S": REFUSED_PER_S,
    "KEY_REQUESTS_PER_S": KEY_PER_S,
    "ORDERS_PER_S": ORDERS_PER_S,
    "CANCELS_PER_S": ORDERS_PER_S,
    "READS_PER_S": READS_PER_S,
    "SOCKET_MESSAGES_PER_S": MESSAGES_PER_S,
    "SESSIONS_PER_KEY_MAX": SESSIONS,
    "CONNECTIONS_PER_ADDRESS_MAX": CONNECTIONS,
    "OPEN_REQUESTS_PER_ADDRESS_MAX": OPEN,
    "MARKET_DATA_READER_STREAMS_MAX": STREAMS,
    "MARKET_DATA_STREAMS_PER_S": STREAMS_PER_S,
    "MARKET_DATA_STREAMS_BURST_S": 2,
    "HEAD_WITHIN_S": WITHIN_S,
    "BODY_WITHIN_S": WITHIN_S,
    "FEED_LOGIN_S": WITHIN_S,
    "BODY_BYTES_MAX": BODY_BYTES,
    "BODIES_BYTES_MAX": BODIES_BYTES,
    "SOCKET_MESSAGE_BYTES_MAX": MESSAGE_BYTES,
    "SSH_KEYS_MAX": SSH_KEYS,
    "PAGE_SIZE": PAGE,
    "PAGE_SIZE_MAX": PAGE,
    "MARKET_DATA_PAGE_ROWS_MAX": PAGE,
}
GROWTH_MB = 60
RATIO_MAX, ROUNDS = 3.0, 8
HONEST = "127.0.0.2"


@pytest.fixture(scope="module")
def attacked(servers_folder) -> Iterator[RunningExchange]:
    lowered = {f"HOURBOOK_{name}": str(value) for name, value in LOWERED.items()}
    with running(servers_folder / "attacked", **free_ports(), **lowered) as exchange:
        define(exchange, terms(PRODUCT, horizon_periods=60))
        yield exchange


@pytest.fixture(scope="module")
def users(attacked) -> Users:
    return Users(attacked)


@pytest.fixture(scope="module")
def attacker(users) -> User:
    return users.open("read", "trade", money="1000.00")


@pytest.fixture(scope="module")
def honest(users) -> User:
    return users.open("read", "trade", money="1000.00")


@pytest.fixture(scope="module", autouse=True)
def before(attacked, attacker, honest) -> dict[str, tuple[int, int]]:
    return state_of(attacked)


@pytest.fixture
def address(request) -> str:
    """An address of the test's own, so that what one test used up no other one misses."""
    places = [item.originalname for item in request.session.items if item.module is request.module]
    return f"127.0.1.{places.index(request.node.originalname) + 1}"


def state_of(exchange: RunningExchange) -> dict[str, tuple[int, int]]:
    """The process of each service, and its megabytes."""
    rows = {row["program"]: row for row in describe(exchange.data)}
    return {name: (rows[name]["pid"], rows[name]["memory_mb"]) for name in (*SERVICES, "front")}


def signed(user: User, method: str, target: str, body: bytes = b"", **headers: str):
    """Returns what makes a signed request, each with a nonce of its own."""
    path, _, query = target.partition("?")
    key = headers.get("Idempotency-Key", "")
    return lambda: request(method, target, headers | user.key.sign(method, path, query, body, key), body)


def assert_held(outcome: Outcome, burst: float, per_s: float, served: set[int]) -> None:
    """At most the limit was served, all else was told in words to come again, and nothing else happened."""
    assert {answer.status for answer in outcome.answers} == served | {429}
    assert outcome.wordless == []
    assert outcome.count(*served) <= burst + per_s * outcome.elapsed_s + 4
    assert outcome.count(*served) >= burst


@pytest.mark.parametrize("service", SERVICES)
async def test_unsigned_requests_have_a_budget_at_every_service(attacked, address, service):
    caller, burst = Caller(attacked.addresses[service], address), 10 * UNSIGNED_PER_S
    outcome = await caller.flood(TIMES * burst, lambda: request("GET", "/v1/engine"))
    assert_held(outcome, burst, UNSIGNED_PER_S, {200} if service == "matching" else {401, 404} & statuses(outcome))


def statuses(outcome: Outcome) -> set[int]:
    return {answer.status for answer in outcome.answers}


@pytest.mark.parametrize("service", ["gateway", *SIGNED_AT])
async def test_signatures_that_fail_have_a_budget_at_every_service(attacked, attacker, address, service):
    target, burst = SIGNED_AT.get(service, "/v1/balances"), 10 * REFUSED_PER_S
    forged = {"Hourbook-Signature": "0" * 128}

    def ask() -> bytes:
        return request("GET", target, attacker.key.sign("GET", target) | forged)

    outcome = await Caller(attacked.addresses[service], address).flood(TIMES * burst, ask)
    assert_held(outcome, burst, REFUSED_PER_S, {401})
    # The key's owner, at another address, is served: whoever forges its signature uses up nothing of it.
    own = await Caller(attacked.addresses[service], HONEST).say(signed(attacker, "GET", target)())
    assert own.status in (200, 403, 404)


@pytest.mark.parametrize("service", SIGNED_AT)
async def test_a_key_has_a_budget_at_every_service(attacked, attacker, honest, address, service):
    caller, burst = Caller(attacked.addresses[service], address), 4 * KEY_PER_S
    outcome = await caller.flood(TIMES * burst, signed(attacker, "GET", SIGNED_AT[service]))
    assert_held(outcome, burst - 1, KEY_PER_S, {200, 403, 404} & statuses(outcome))
    other = await Caller(attacked.addresses[service], address).say(signed(honest, "GET", SIGNED_AT[service])())
    assert other.status in (200, 403, 404), "another key at the same address pays for itself"


async def test_a_key_has_a_budget_of_each_kind_at_the_gateway(attacked, attacker, honest, address):
    caller, burst = Caller(attacked.addresses["gateway"], address), 2 * ORDERS_PER_S
    order = json.dumps(bid()).encode()
    outcome = await caller.flood(TIMES * burst, signed(attacker, "POST", "/v1/orders", order), connections=16)
    assert_held(outcome, burst, ORDERS_PER_S + 12 / outcome.elapsed_s, {201})
    outcome = await caller.flood(TIMES * burst, signed(attacker, "DELETE", "/v1/orders/999999999"), connections=16)
    assert_held(outcome, burst, ORDERS_PER_S + 12 / outcome.elapsed_s, {404})
    assert (await caller.say(signed(honest, "POST", "/v1/orders", order)())).status == 201


async def test_an_honest_client_waits_no_longer_than_beside_refused_no_ops(attacked, attacker, honest, address):
    """The attack, most of which is refused, against as many requests of nobody that are refused at once."""
    caller, burst = Caller(attacked.addresses["gateway"], address), 2 * READS_PER_S
    count = TIMES * burst // ROUNDS
    reader, writer = await Caller(attacked.addresses["gateway"], HONEST).connect()
    mine = signed(honest, "GET", "/v1/balances")

    async def ask() -> None:
        writer.write(mine())
        assert (await answer_of(reader)).status == 200

    waits: dict[str, list[float]] = {"no-ops": [], "attack": []}
    flood = Outcome()
    for _ in range(ROUNDS):
        for name, make in (
            ("no-ops", lambda: request("GET", "/v1/nothing")),
            ("attack", signed(attacker, "GET", "/v1/balances")),
        ):
            sending = asyncio.create_task(caller.flood(count, make))
            found = await delays_ms(ask, 0.02, while_=sending)
            waits[name].append(p99(found))
            if name == "attack":
                flood.answers += sending.result().answers
                flood.elapsed_s += sending.result().elapsed_s
            await asyncio.sleep(0.5)  # the honest client has a budget too
    writer.close()
    assert flood.total == count * ROUNDS
    assert flood.wordless == [] and statuses(flood) == {200, 429}
    assert flood.count(200) <= burst + READS_PER_S * (flood.elapsed_s + 10)
    print(f"honest p99 in ms: {waits}")
    assert min(waits["attack"]) <= RATIO_MAX * max(min(waits["no-ops"]), 1.0)


async def test_messages_of_a_session_have_a_budget(attacked, attacker, address):
    burst, sent = 2 * MESSAGES_PER_S, TIMES * 2 * MESSAGES_PER_S
    socket = await Caller(attacked.addresses["gateway"], address).socket("/v1/ws")
    await socket.send(json.dumps({"op": "login", **attacker.key.login()}))
    began, heard = time.monotonic(), []
    for _ in range(sent):
        await socket.send('{"op":"ping"}')
    while time.monotonic() - began < 2:
        message = json.loads(await socket.recv())
        heard.append(message.get("code") or message.get("op"))
    elapsed_s = time.monotonic() - began
    socket.transport.abort()  # nobody reads it, so that a polite end would wait
    assert burst <= heard.count("pong") <= burst + MESSAGES_PER_S * elapsed_s + 1
    assert set(heard) <= {"login", "pong", "too_many_requests", None}
    assert 0 < heard.count("too_many_requests") <= 4 * MESSAGES_PER_S * elapsed_s, "a flood waits at its sender's"


async def test_a_key_has_so_many_sessions(attacked, users, address):
    attacker = users.open("read", "trade")  # a key that has no session yet, not even one that is about to end
    answers, opened = [], []
    for place in range(TIMES * SESSIONS):  # from many addresses, none of which has asked too much
        own = f"127.0.{40 + place // OPEN}.{address.rpartition('.')[2]}"
        socket = await Caller(attacked.addresses["gateway"], own).socket("/v1/ws")
        await socket.send(json.dumps({"op": "login", **attacker.key.login()}))
        reply = json.loads(await socket.recv())
        answers.append(reply.get("code") or reply["op"])
        if reply["op"] == "login":
            opened.append(socket)
        else:
            await socket.wait_closed()
            assert socket.close_code == 4401
    assert answers == ["login"] * SESSIONS + ["too_many_requests"] * (TIMES - 1) * SESSIONS
    for socket in opened:
        await socket.close()


async def test_a_socket_that_never_logs_in_is_closed(attacked, address):
    async with Caller(attacked.addresses["gateway"], address).sockets("/v1/ws", OPEN) as (opened, refused):
        began = time.monotonic()
        await asyncio.gather(*(socket.wait_closed() for socket in opened))
        assert (len(opened), refused, {socket.close_code for socket in opened}) == (OPEN, [], {4401})
        assert time.monotonic() - began < WITHIN_S + 5


@pytest.mark.parametrize("service", SERVICES)
async def test_an_address_has_so_many_connections_at_every_service(attacked, address, service):
    caller, began = Caller(attacked.addresses[service], address), time.monotonic()
    connections = [await caller.connect() for _ in range(TIMES * CONNECTIONS)]
    answers = await asyncio.gather(*(answer_of(reader) for reader, _ in connections))
    for _, writer in connections:
        writer.close()
    # Those that were let in say nothing and are given up in time, so that others may follow.
    let_in, refused = Answer(408, "request_timeout", waits=True), Answer(429, "too_many_requests", waits=True)
    assert set(answers) == {let_in, refused}
    assert CONNECTIONS <= answers.count(let_in) <= CONNECTIONS * (1 + (time.monotonic() - began) // WITHIN_S)
    assert (await Caller(attacked.addresses[service], HONEST).say(request("GET", "/healthz"))).status == 200


@pytest.mark.parametrize(("service", "path"), [("market_data", "/v1/feed"), ("front", "/v1/feed")])
async def test_an_address_has_so_many_sockets_through_the_front_door(attacked, address, service, path):
    own = address if service == "front" else f"127.0.2.{address.rpartition('.')[2]}"
    caller, url = Caller(attacked.addresses[service], own), attacked.addresses[service]
    async with caller.sockets(path, TIMES * OPEN) as (opened, refused):
        assert len(opened) == OPEN
        assert set(refused) <= {403, 429} and len(refused) == (TIMES - 1) * OPEN
        async with Caller(url, f"127.0.3.{address.rpartition('.')[2]}").sockets(path, 1) as (others, _):
            await others[0].send('{"op":"subscribe","ch":"status","syms":["*"],"id":"1"}')
            assert json.loads(await others[0].recv())["ch"] in ("ack", "status", "hb")


async def test_streams_of_the_feed_have_a_bound_and_a_pace(attacked, address):
    socket = await Caller(attacked.addresses["market_data"], address).socket("/v1/feed")
    names = [bid()["contract"]] * 2 * STREAMS_PER_S  # a burst's worth in each message
    began, answered = time.monotonic(), 0
    for number in range(TIMES):
        await socket.send(json.dumps({"op": "subscribe", "ch": "book", "syms": names, "id": str(number)}))
    while time.monotonic() - began < 4:
        answered += len(names) * ("id" in json.loads(await socket.recv()))
    elapsed_s = time.monotonic() - began
    socket.transport.abort()
    assert len(names) <= answered <= 2 * len(names) + STREAMS_PER_S * elapsed_s
    elsewhere = Caller(attacked.addresses["market_data"], f"127.0.2.{address.rpartition('.')[2]}")
    socket = await elsewhere.socket("/v1/feed")
    contracts = [contract_in(2 + place) for place in range(TIMES * STREAMS)]
    await socket.send(json.dumps({"op": "subscribe", "ch": "book", "syms": contracts, "id": "all"}))
    while "id" not in (reply := json.loads(await socket.recv())):
        continue
    assert reply["code"] == "too_many_streams"
    await socket.close()


@pytest.mark.parametrize("service", SERVICES)
async def test_what_is_too_long_is_refused_in_words(attacked, address, service):
    caller = Caller(attacked.addresses[service], address)
    line = b"X-A: " + b"a" * 1_000 + b"\r\n"
    head = await caller.say(b"GET / HTTP/1.1\r\nHost: venue\r\n", *[line] * (TIMES * HEAD_BYTES // 1_000))
    url = await caller.say(b"GET /", *[b"a" * URL_BYTES] * TIMES, b" HTTP/1.1\r\nHost: venue\r\n\r\n")
    body = await caller.say(request("POST", "/v1/orders", {}, b"[" + b"1," * (TIMES * BODY_BYTES // 2) + b"1]"))
    assert head in (Answer(431, "head_too_large"), Answer(400, "malformed_request"))
    assert (url, body) == (Answer(414, "url_too_long"), Answer(413, "body_too_large"))


@pytest.mark.parametrize("service", SERVICES)
async def test_half_sent_requests_are_given_up(attacked, address, service):
    caller = Caller(attacked.addresses[service], address)
    halves = [b"GET /v1/x HTTP/1.1\r\nHost: venue\r\n"] * 8 + [
        b"POST /v1/orders HTTP/1.1\r\nHost: venue\r\nContent-Length: 10\r\n\r\n{"
    ] * 8
    began = time.monotonic()
    answers = await asyncio.gather(*(caller.say(half) for half in halves))
    assert set(answers) == {Answer(408, "request_timeout", waits=True), Answer(408, "request_timeout")}
    assert WITHIN_S * 0.9 < time.monotonic() - began < WITHIN_S + 5


async def test_bodies_that_are_held_leave_room_or_are_sent_away(attacked, honest, address):
    size = BODY_BYTES - 10
    head = b"POST /v1/orders HTTP/1.1\r\nHost: venue\r\nContent-Length: %d\r\n\r\n" % (size + 1) + b"1" * size
    addresses = [f"127.0.{4 + place // 5}.{address.rpartition('.')[2]}" for place in range(TIMES * 5)]
    callers, began = [Caller(attacked.addresses["gateway"], each) for each in addresses], time.monotonic()
    answers = await asyncio.gather(*(caller.say(head) for caller in callers))
    held = [answer for answer in answers if answer.status == 408]
    assert 0 < len(held) * size <= BODIES_BYTES * (1 + (time.monotonic() - began) // WITHIN_S)
    assert set(answers) - set(held) == {Answer(503, "unavailable", waits=True)}
    order = json.dumps(bid()).encode()
    later = await Caller(attacked.addresses["gateway"], HONEST).say(signed(honest, "POST", "/v1/orders", order)())
    assert later.status == 201


@pytest.mark.parametrize(("service", "path"), [("gateway", "/v1/ws"), ("market_data", "/v1/feed")])
async def test_a_message_that_is_too_long_ends_its_socket(attacked, address, service, path):
    socket = await Caller(attacked.addresses[service], address).socket(path)
    with pytest.raises(ConnectionClosed) as closed:
        await socket.send("x" * TIMES * MESSAGE_BYTES)
        while True:
            await socket.recv()
    assert closed.value.rcvd is None or closed.value.rcvd.code == 1009


async def test_an_account_has_so_many_ssh_keys(attacked, users, address):
    user, answers = users.open("trade"), []
    for _ in range(TIMES * SSH_KEYS):
        public = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        form = json.dumps({"public_key": public.decode()}).encode()
        ask = signed(user, "POST", "/v1/ssh-keys", form)
        answers.append(await Caller(attacked.addresses["delivery"], address).say(ask()))
    assert answers == [Answer(201)] * SSH_KEYS + [Answer(409, "conflict")] * (TIMES - 1) * SSH_KEYS


async def test_pages_have_a_longest_length(attacked, attacker, address):
    for service in ("delivery", "listings", "ledger"):
        target = {"delivery": "/v1/nodes", "listings": "/v1/listings", "ledger": "/v1/statements"}[service]
        ask = signed(attacker, "GET", f"{target}?limit={TIMES * 1_000}")
        answer = await Caller(attacked.addresses[service], address).say(ask())
        assert answer == Answer(400, "malformed_request")
    with httpx.Client(base_url=attacked.addresses["market_data"]) as anyone:
        contracts = anyone.get("/v1/contracts", params={"limit": TIMES * PAGE})
        orders = attacker.client.get("/v1/orders", params={"limit": TIMES * PAGE})
        for page in (contracts, orders):
            assert page.status_code == 400 or len(page.json()["items"]) == PAGE


async def test_after_all_that_no_service_is_larger_or_another_and_everybody_is_served(attacked, honest, before):
    after = state_of(attacked)
    assert {name: pid for name, (pid, _) in after.items()} == {name: pid for name, (pid, _) in before.items()}
    growth = {name: after[name][1] - before[name][1] for name in after}
    print(f"growth in MB: {growth}")
    assert {name: grown for name, grown in growth.items() if grown > GROWTH_MB} == {}
    order = json.dumps(bid(client_order_id=uuid4().hex)).encode()
    own = await Caller(attacked.addresses["front"], HONEST).say(signed(honest, "POST", "/v1/orders", order)())
    assert own == Answer(201)
