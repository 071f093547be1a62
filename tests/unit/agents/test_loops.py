"""The node's loops, its clock, its patience and its way of speaking, without a venue.

Tier: default, about 2 s.
"""

import asyncio
import logging
import re

import httpx
import pytest

from agents.node.clock import VenueClock, mono_ms
from agents.node.errors import BadAnswer, BadConfiguration, VenueRefused, VenueUnreachable
from agents.node.loops import Loops
from agents.node.notices import Notices
from agents.node.wire import Patience, Wire, open_http, read_object


@pytest.fixture
def loops() -> Loops:
    return Loops(Notices(), backoff_s=(0.001, 0.004))


async def test_a_failing_loop_is_counted_shown_once_and_tried_again_while_others_run(loops, caplog):
    ran: list[str] = []

    async def fail() -> None:
        ran.append("bad")
        raise KeyError("a bug")

    async def work() -> None:
        ran.append("good")
        if ran.count("good") >= 5 and ran.count("bad") >= 3:
            loops.stop()

    loops.start("bad", fail, lambda: 0.001)
    loops.start("good", work, lambda: 0.001)
    await asyncio.wait_for(loops.run(), 10)
    assert loops.faults == {"bad": ran.count("bad")}
    assert len([record for record in caplog.records if record.exc_info]) == 1
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        "a fault in bad, which is tried again: KeyError at " + fail.__qualname__
    ]


async def test_what_the_operator_or_the_venue_causes_is_one_line_and_one_more_when_it_is_over(loops, caplog):
    caplog.set_level(logging.INFO)
    answers = [VenueUnreachable("away"), VenueUnreachable("away"), VenueRefused(409, "busy", "later"), None]

    async def step() -> None:
        answer = answers.pop(0)
        if answer is None:
            loops.stop()
        else:
            raise answer

    loops.start("selling", step, lambda: 0.001)
    await asyncio.wait_for(loops.run(), 10)
    assert [record.getMessage() for record in caplog.records] == [
        "selling waits: away",
        "selling waits: busy (409): later",
        "selling goes on",
    ]
    assert loops.faults == {}


async def test_stopping_cancels_what_hangs_and_starts_nothing_more(loops):
    hung = loops.spawn("hook", asyncio.sleep(1000))
    loops.stop()
    await asyncio.wait_for(loops.run(), 10)
    assert hung.cancelled()
    assert loops.spawn("late", asyncio.sleep(0)) is None


def test_the_venues_time_goes_on_by_the_monotonic_clock_and_the_quickest_answer_tells_it_best():
    clock, start_ms = VenueClock(), mono_ms()
    clock.observe(1_000_000, start_ms - 20, start_ms)
    quick_ms = clock.now_ms() - (mono_ms() - start_ms)
    assert abs(quick_ms - 1_000_010) <= 2
    clock.observe(1_000_000, start_ms - 12_000, start_ms)
    assert abs(clock.now_ms() - (mono_ms() - start_ms) - quick_ms) <= 2, "a slow answer says less"
    clock.observe(1_000_000 + 3_600_000, start_ms - 20, start_ms)
    stepped_ms = clock.now_ms() - (mono_ms() - start_ms)
    assert abs(stepped_ms - quick_ms - 3_600_000) <= 2, "the machine slept, or the venue's clock was set"


def test_patience_grows_with_time_outs_to_a_bound_and_comes_back_to_twice_what_answers_take():  # M09
    patience = Patience(10, 60)
    grown = []
    for _ in range(4):
        patience.note_timeout()
        grown.append(patience.timeout_s)
    assert grown == [20, 40, 60, 60]
    for _ in range(40):
        patience.note_answer(12)
    assert patience.timeout_s == 24
    for _ in range(40):
        patience.note_answer(0.1)
    assert patience.timeout_s == 10


async def test_m09_a_venue_slower_than_the_time_out_is_heard_after_a_few_tries():
    async def answer(request: httpx.Request) -> httpx.Response:
        waited_s = request.extensions["timeout"]["read"]
        if waited_s < 0.25:
            raise httpx.ReadTimeout("too slow")
        return httpx.Response(200, json={})

    wire = Wire(httpx.AsyncClient(transport=httpx.MockTransport(answer)), Patience(0.1, 1.0))
    heard = []
    for _ in range(4):
        try:
            heard.append(read_object(await wire.send("GET", "http://venue/"), "/"))
        except VenueUnreachable as error:
            heard.append(str(error))
    assert heard == [
        "GET http://venue/: no answer within 0.1 s",
        "GET http://venue/: no answer within 0.2 s",
        {},
        {},
    ]


@pytest.mark.parametrize(
    "error", [httpx.ConnectError("no"), httpx.RemoteProtocolError("no"), httpx.DecodingError("no"), OSError("no")]
)
async def test_every_kind_of_trouble_on_the_way_is_a_venue_that_cannot_be_reached(error):
    def fail(request: httpx.Request) -> httpx.Response:
        raise error

    wire = Wire(httpx.AsyncClient(transport=httpx.MockTransport(fail)))
    with pytest.raises(VenueUnreachable, match="GET http://venue/: no"):
        await wire.send("GET", "http://venue/?token=secret")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ALL_PROXY", "socks5://127.0.0.1:1080"),
        ("https_proxy", "quic://proxy"),
        ("NO_PROXY", "[::1]"),
        ("SSL_CERT_FILE", "/nowhere/ca.pem"),
    ],
)
def test_a_proxy_or_a_certificate_that_cannot_be_followed_is_one_line_with_its_variable(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    with pytest.raises(BadConfiguration, match=rf"no HTTP client can be made: .* environment: .*\b{variable}\b"):
        open_http()


async def test_an_address_that_is_none_is_named():
    wire = Wire(httpx.AsyncClient())
    for url in ("venue:80/", "http://", "", "http://[::1", "ftp://venue/"):
        with pytest.raises(VenueUnreachable):
            await wire.send("GET", url)


async def test_an_answer_that_never_ends_is_given_up():
    async def drip():
        while True:
            yield b" "
            await asyncio.sleep(0.01)

    transport = httpx.MockTransport(lambda request: httpx.Response(200, content=drip()))
    wire = Wire(httpx.AsyncClient(transport=transport), Patience(0.05, 0.05))
    with pytest.raises(VenueUnreachable, match="no answer within"):
        await asyncio.wait_for(wire.send("GET", "http://venue/"), 10)


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        ({"code": "not_yet", "detail": "a\nb\x1b[2J" + "x" * 10**6}, r"not_yet \(409\): a b\ufffd\[2Jx{493}…"),
        ({"code": "not_yet", "detail": {"a": [1]}}, r"not_yet \(409\): \{'a': \[1\]\}"),
        ({"code": "NOT\nYET", "detail": "a"}, r"GET http://venue/: status 409: a"),
        ({"code": 7}, r"GET http://venue/: status 409: '\{\"code\": ?7\}'"),
    ],
)
async def test_what_the_venue_says_is_one_short_line_whatever_it_says(problem, words):
    wire = Wire(httpx.AsyncClient(transport=httpx.MockTransport(lambda request: httpx.Response(409, json=problem))))
    with pytest.raises((VenueRefused, VenueUnreachable)) as refused:
        await wire.send("GET", "http://venue/")
    assert re.fullmatch(words, str(refused.value)), str(refused.value)


def test_only_an_object_is_an_answer():
    with pytest.raises(BadAnswer, match="not a JSON object: '7'"):
        read_object(b"7", "GET /")
