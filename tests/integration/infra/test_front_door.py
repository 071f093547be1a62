"""The front door on a real Caddy, before servers that answer what they were asked."""

import asyncio
import http.client
import json
import socket
import ssl
import time

import pytest

from infra import front_door, processes
from infra.ports import LOOPBACK, distinct_ports
from infra.settings import InfraSettings
from schemas.problems import PROBLEM_MEDIA_TYPE
from services.kit.http import make_app
from services.kit.readiness import Readiness
from services.kit.serving import serve
from services.kit.settings import Settings

PORTS = distinct_ports(len(front_door.ROUTED) + 1)
BOUNDS = {"front_read_header_s": 1, "front_read_body_s": 1, "front_idle_s": 1, "front_header_bytes_max": 4_096}


class Echoes:
    """One server for each service; each answers with its name, the request's target as it came, and its head."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._servers: list[asyncio.Server] = []
        self._away = socket.socket()

    async def start(self) -> None:
        for name, port in zip(front_door.ROUTED, PORTS, strict=False):
            if name == "listings":  # is away, and nobody else gets its port
                self._away.bind((LOOPBACK, port))
            else:
                self._servers.append(await asyncio.start_server(self._answering(name), LOOPBACK, port))

    async def stop(self) -> None:
        self._away.close()
        for server in self._servers:
            server.close()

    @staticmethod
    def _answering(name: str):
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {key.lower(): value for key, _, value in (line.partition(": ") for line in head[1:] if line)}
                body = json.dumps({"service": name, "target": head[0].split(" ")[1], "headers": headers}).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
                await writer.drain()
            except asyncio.IncompleteReadError:
                pass
            finally:
                writer.close()

        return answer


def settings_in(folder, **changes) -> InfraSettings:
    ports = {f"{name}_port": port for name, port in zip(front_door.ROUTED, PORTS, strict=False)}
    return InfraSettings(data=folder, front_port=PORTS[-1], **ports, **(BOUNDS | changes))


@pytest.fixture(scope="module")
def echoes():
    from threading import Thread

    found = Echoes()
    loop = found._loop
    Thread(target=loop.run_forever, daemon=True).start()
    asyncio.run_coroutine_threadsafe(found.start(), loop).result(10)
    yield found
    asyncio.run_coroutine_threadsafe(found.stop(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)


def running(settings: InfraSettings):
    program = front_door.prepare(settings)
    process = processes.start(program)
    processes.wait_ready(program, process, within_s=20)
    return program, process


@pytest.fixture(scope="module")
def front(echoes, tmp_path_factory):
    settings = settings_in(tmp_path_factory.mktemp("front"))
    program, process = running(settings)
    yield settings.front_port
    processes.stop(program, process)


def ask(port: int, method: str, target: str, headers: dict[str, str] | None = None, body: bytes | None = None):
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=10)
    try:
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize(
    "target",
    [
        "/v1/orders/by-client-id/a%2Fb%3D%2B@:",
        "/v1/orders?limit=1&limit=2&b=%zz;c=1&+=+",
        "/v1/orders/by-client-id/%C3%BC//x",
        "/v1/orders/../positions?a=b?c",
        "/v1/orders?",
    ],
)
def test_path_and_query_arrive_as_they_were_sent_since_they_are_signed(front, target):
    answer = ask(front, "GET", target)
    assert (answer[0], json.loads(answer[2])["target"]) == (200, target)


def test_a_clients_own_word_about_its_address_does_not_arrive(front):
    claims = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https", "Forwarded": "for=203.0.113.7"}
    headers = json.loads(ask(front, "GET", "/v1/orders", claims)[2])["headers"]
    assert (headers["x-forwarded-for"], headers["x-forwarded-proto"]) == (LOOPBACK, "http")


@pytest.mark.parametrize(
    ("target", "service"),
    [
        ("/v1/orders", "gateway"),
        ("/v1/positions/7/access", "delivery"),
        ("/v1/positions", "gateway"),
        ("/v1/ledger/audit", "ledger"),
        ("/v1/engine", "matching"),
        ("/v1/products", "market_data"),
        ("/v1/feed", "market_data"),
        ("/v1/ws", "gateway"),
        ("/", "terminal"),
        ("/main.js", "terminal"),
    ],
)
def test_each_path_goes_to_its_service(front, target, service):
    assert json.loads(ask(front, "GET", target)[2])["service"] == service


@pytest.mark.parametrize("target", ["/metrics", "/readyz", "/%6detrics", "//metrics", "/./metrics"])
def test_what_is_the_venues_own_is_not_shown(front, target):
    status, headers, body = ask(front, "GET", target)
    problem = json.loads(body)
    assert (status, headers["Content-Type"], problem["code"]) == (404, "application/problem+json", "not_found")


def test_a_service_that_is_away_is_a_problem_that_may_be_tried_again(front):
    status, headers, body = ask(front, "POST", "/v1/listings", body=b"{}")
    problem = json.loads(body)
    assert (status, headers["Content-Type"], headers["Retry-After"]) == (502, "application/problem+json", "1")
    assert len(problem.pop("request_id")) == 36
    assert problem == {
        "type": "urn:hourbook:problem:unavailable",
        "title": "Bad Gateway",
        "status": 502,
        "code": "unavailable",
        "detail": "a service does not answer: Bad Gateway",
        "retryable": True,
        "order_state": "unknown",
    }


@pytest.mark.parametrize("in_head", [b"X-A: %s\r\n", b"%s"], ids=["a header", "the path"])
def test_a_head_beyond_its_bound_is_refused_before_it_is_read_whole(front, in_head):
    filler = in_head % (b"a" * 120_000_000)
    line = b"GET /" + (filler if in_head == b"%s" else b"") + b" HTTP/1.1\r\nHost: x\r\n"
    with socket.create_connection((LOOPBACK, front), timeout=10) as connection:
        sent = 0
        try:
            for part in (line, filler if in_head != b"%s" else b""):
                for start in range(0, len(part), 65_536):
                    sent += connection.send(part[start : start + 65_536])
        except OSError:
            pass  # it has hung up
        assert sent < 20_000_000  # what the sockets of both sides and one read hold
        try:
            answer = connection.recv(200)
        except ConnectionResetError:
            answer = b""
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431 ")


def test_a_request_that_is_never_finished_is_let_go(front):
    with socket.create_connection((LOOPBACK, front), timeout=10) as connection:
        connection.sendall(b"GET /v1/orders HTTP/1.1\r\nHost: x\r\n")
        began = time.monotonic()
        assert b"200" not in connection.recv(200)
    assert time.monotonic() - began < 5


def test_a_connection_that_asks_nothing_more_is_let_go(front):
    with socket.create_connection((LOOPBACK, front), timeout=10) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(1_000).startswith(b"HTTP/1.1 200")
        began = time.monotonic()
        assert connection.recv(1_000) == b""
    assert time.monotonic() - began < 5


@pytest.fixture
async def before_a_service(echoes, tmp_path):
    """A front door before a service that reads bodies, with room for heads that the service refuses."""
    port, front_port = distinct_ports(2)
    settings = Settings(body_within_s=1)
    serving = asyncio.create_task(serve(make_app("test", Readiness(), settings.body_limits), settings, port))
    bounds = {"front_header_bytes_max": InfraSettings().front_header_bytes_max, "front_body_bytes_max": 100_000}
    bounds["front_read_body_s"] = 2
    ports = {"front_port": front_port, "gateway_port": port}
    program, process = await asyncio.to_thread(running, settings_in(tmp_path, **bounds).model_copy(update=ports))
    yield front_port
    await asyncio.to_thread(processes.stop, program, process)
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


async def test_a_body_beyond_its_bound_is_refused_in_words(before_a_service):
    told = ask, before_a_service, "POST", "/v1/orders", None, b"x" * 150_000
    status, headers, document = await asyncio.to_thread(*told)
    assert (status, headers["Content-Type"], json.loads(document)["code"]) == (
        413,
        PROBLEM_MEDIA_TYPE,
        "body_too_large",
    )


def test_a_service_gives_a_body_up_before_caddy_does():
    """Where Caddy is first it ends its request to the service, and answers its client never."""
    assert InfraSettings().body_within_s < InfraSettings().front_read_body_s


async def test_a_body_that_does_not_come_whole_is_given_up(before_a_service):
    reader, writer = await asyncio.open_connection(LOOPBACK, before_a_service)
    began = time.monotonic()
    writer.write(b"POST /v1/orders HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
    async with asyncio.timeout(10):
        head = await reader.read(200)
    assert head.startswith(b"HTTP/1.1 408 ") and b"application/problem+json" in head
    assert time.monotonic() - began < 5
    writer.close()


async def test_a_head_that_a_service_finds_too_large_is_refused_with_its_problem_document(before_a_service):
    answers = {}
    for size in (20_000, 40_000, 60_000):
        for body in (None, b"x" * 50_000):
            told = ask, before_a_service, "POST" if body else "GET", "/v1/orders", {"X-A": "a" * size}, body
            status, headers, document = await asyncio.to_thread(*told)
            answers[size, body is None] = (status, headers["Content-Type"], json.loads(document)["code"])
    status, _, document = await asyncio.to_thread(ask, before_a_service, "GET", "/v1/" + "a" * 9_000)
    assert answers == {
        (size, without): (404, PROBLEM_MEDIA_TYPE, "not_found")
        if size == 20_000
        else (431, PROBLEM_MEDIA_TYPE, "head_too_large")
        for size, without in answers
    }
    assert (status, json.loads(document)["code"]) == (414, "url_too_long")


def test_it_speaks_tls_where_it_is_asked_to(echoes, tmp_path):
    port = distinct_ports(1)[0]
    settings = settings_in(tmp_path, front_tls="internal", front_name="localhost").model_copy(
        update={"front_port": port}
    )
    program, process = running(settings)
    try:
        authority = tmp_path / "front" / "caddy" / "pki" / "authorities" / "local" / "root.crt"
        context = ssl.create_default_context(cafile=str(authority))
        connection = http.client.HTTPSConnection("localhost", port, timeout=10, context=context)
        connection.request("GET", "/v1/orders")
        found = json.loads(connection.getresponse().read())
        assert (found["service"], found["headers"]["x-forwarded-proto"]) == ("gateway", "https")
        assert front_door.url_of(settings) == f"https://localhost:{port}"
    finally:
        processes.stop(program, process)
