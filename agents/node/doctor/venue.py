"""The way to the venue: each address, its round trip, whose clock is right, and whether it takes the key."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import urlencode

import httpx

from agents.node.client import GatewayClient
from agents.node.clock import VenueClock, mono_ms
from agents.node.config import AgentConfig
from agents.node.doctor.findings import Finding, mend, ok, warn
from agents.node.errors import AgentError, BadConfiguration, VenueRefused
from agents.node.identity import acting_key
from agents.node.wire import open_http
from schemas.signing import WINDOW_MS_DEFAULT

TRIES = 3
SLOW_S = 1.0
# Signed requests carry a time stamp that the venue takes within its window; HTTP tells the time in whole seconds.
CLOCK_OFF_S = WINDOW_MS_DEFAULT / 1000
HALF_A_SECOND = 0.5


@dataclass(frozen=True)
class Reached:
    """What an address answered; `offset_s` is how far its clock is ahead of this machine's, where it told its time."""

    status: int
    trip_s: float
    offset_s: float | None


async def examine_venue(config: AgentConfig) -> AsyncIterator[Finding]:
    """Yields whether each of the venue's addresses answers, how fast, and whether the clocks agree."""
    try:
        http = open_http()
    except BadConfiguration as error:
        yield mend("network", str(error))
        return
    async with http:
        offsets = []
        for name, url in (
            ("delivery", config.venue.delivery_url),
            ("gateway", config.venue.gateway_url),
            ("market data", config.venue.market_data_url),
        ):
            reached = await reach(http, url, config.http_timeout_s)
            if isinstance(reached, str):
                yield mend(name, f"{url} does not answer: {reached}", "check DNS, routes, firewall and proxy")
                continue
            said = f"{url} answers, round trip {reached.trip_s * 1000:.0f} ms"
            yield warn(name, said, "answers this slow can lose reports") if reached.trip_s > SLOW_S else ok(name, said)
            if reached.offset_s is not None:
                offsets.append(reached.offset_s)
        if offsets:
            yield clock_finding(sorted(offsets)[len(offsets) // 2])
        async for finding in _try_key(http, config, offsets):
            yield finding


async def reach(http: httpx.AsyncClient, url: str, timeout_s: float) -> Reached | str:
    """Returns what an address answers, the fastest of some tries; in words why it does not."""
    best: Reached | None = None
    for _ in range(TRIES):
        sent_s, began = time.time(), time.monotonic()
        try:
            response = await http.get(url, timeout=timeout_s, follow_redirects=False)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            return str(error) or type(error).__name__
        trip_s = time.monotonic() - began
        if best is None or trip_s < best.trip_s:
            best = Reached(response.status_code, trip_s, _offset(response, sent_s + trip_s / 2))
    return best


def clock_finding(offset_s: float) -> Finding:
    """Says how this machine's clock stands to the venue's, whose answers tell whole seconds."""
    if abs(offset_s) <= 1 + HALF_A_SECOND:
        return ok("clock", "agrees with the venue's to a second")
    way = "behind" if offset_s > 0 else "ahead of"
    said = f"is {abs(offset_s):.0f} s {way} the venue's"
    if abs(offset_s) > CLOCK_OFF_S:
        return mend("clock", said, "let chrony or systemd-timesyncd set it: signed requests are refused")
    return warn("clock", said, "let chrony or systemd-timesyncd set it")


def _offset(response: httpx.Response, middle_s: float) -> float | None:
    try:
        venue_s = parsedate_to_datetime(response.headers["date"]).timestamp()
    except (KeyError, ValueError, TypeError):
        return None
    return venue_s + HALF_A_SECOND - middle_s


async def _try_key(http: httpx.AsyncClient, config: AgentConfig, offsets: list[float]) -> AsyncIterator[Finding]:
    """Yields whether the gateway takes the key; its time stamp follows the venue's clock, as the agent's do."""
    try:
        key = acting_key(config)
    except AgentError:
        return  # that has a line of its own, or is made at the first start
    query = {"limit": "1", "role": "operator"} | ({} if config.api_key else {"node": key.key_id})
    clock = VenueClock()
    if offsets:
        at = mono_ms()
        clock.observe(int((time.time() + offsets[0]) * 1000), at, at)
    venue = config.venue
    gateway = GatewayClient(http, venue.gateway_url, venue.market_data_url, key, clock, config.patience())
    try:
        await gateway.call("GET", "/v1/positions", query=urlencode(query))
    except VenueRefused as refusal:
        yield mend("api key", f"the gateway refuses it: {refusal}", "it needs the scopes read and operate")
    except AgentError as error:
        yield warn("api key", f"it could not be tried: {error}")
    else:
        yield ok("api key", "the gateway accepts it")
