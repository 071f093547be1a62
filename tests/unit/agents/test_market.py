"""The operator's account as its nodes see it: read once for all, what they did worked in, refusals passed on."""

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents.node.client import ApiKey, GatewayClient
from agents.node.errors import BadConfiguration, VenueRefused, VenueUnreachable
from agents.node.market import OperatorAccount
from agents.node.offering import Sold
from agents.node.posting import Ask, Offer, Terms
from tests.fakes.venue import GATEWAY, MARKET_DATA, FakeVenue

PRODUCT = "H100SXM80.CNE.F"
TERMS = Terms(PRODUCT, period_s=3600, horizon_periods=5, gate_lead_s=6, tick_micros=10_000)
START_S = 1_795_363_200
NOTHING = ((), Sold())


def offer(periods: int = 2) -> Offer:
    to_s = START_S + periods * 3600
    return Offer(START_S, to_s, 4, dict.fromkeys(range(START_S, to_s, 3600), 12_840_000))


class Watched(FakeVenue):
    """A venue that notes what is asked of its gateway."""

    def __init__(self, *arguments: str) -> None:
        super().__init__(*arguments)
        self.asked: list[str] = []

    def _trade(self, request: httpx.Request, path: list[str]) -> httpx.Response:
        self.asked.append(f"{request.method} {path[0]}" + (" of one" if "parent_id" in request.url.params else ""))
        return super()._trade(request, path)


@pytest.fixture
def key() -> ApiKey:
    return ApiKey("operator", Ed25519PrivateKey.generate())


@pytest.fixture
def venue(key) -> Watched:
    return Watched(PRODUCT, key.private_key.public_key().public_bytes_raw().hex())


def account_of(venue: FakeVenue, key: ApiKey, fresh_for_s: float = 1000) -> OperatorAccount:
    return OperatorAccount(GatewayClient(venue.client(), GATEWAY, MARKET_DATA, key), fresh_for_s)


async def test_what_a_node_posts_and_withdraws_is_known_without_reading_again(venue, key):
    account = account_of(venue, key)
    assert await account.book_of("node-1") == NOTHING
    await account.post("node-1", TERMS, offer(), "name-1")
    asks = tuple(Ask(1, start_s, 4, 12_840_000) for start_s in (START_S, START_S + 3600))
    assert await account.book_of("node-1") == (asks, Sold())
    assert await account.book_of("node-2") == NOTHING
    await account.withdraw("node-1", 1)
    assert await account.book_of("node-1") == NOTHING
    assert venue.asked == ["GET positions", "GET orders", "POST orders", "DELETE orders"]


async def test_a_list_whose_pages_never_end_is_given_up(key, monkeypatch):
    monkeypatch.setattr("agents.node.client.PAGES_MAX", 5)
    asked = []

    def turn_the_page(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(200, json={"items": [], "cursor": str(len(asked)), "seq": 1})

    http = httpx.AsyncClient(transport=httpx.MockTransport(turn_the_page))
    account = OperatorAccount(GatewayClient(http, GATEWAY, MARKET_DATA, key), 0)
    with pytest.raises(VenueUnreachable, match="GET /v1/positions: there are more than 5 pages"):
        await account.book_of("node-1")
    assert asked == 5 * ["/v1/positions"]


async def test_a_fresh_read_says_the_same_as_the_nodes_own_memory_and_reads_positions_before_orders(venue, key):
    account = account_of(venue, key)
    await account.post("node-1", TERMS, offer(), "name-1")
    remembered = await account.book_of("node-1")
    assert await account_of(venue, key).book_of("node-1") == remembered
    assert venue.asked[-3:] == ["GET positions", "GET orders", "GET orders of one"]


async def test_the_asks_of_an_order_are_read_again_only_when_it_has_changed(venue, key):
    account = account_of(venue, key, fresh_for_s=0)
    await account.post("node-1", TERMS, offer(), "name-1")
    await account.book_of("node-1")
    await account.book_of("node-1")
    assert venue.asked.count("GET orders of one") == 1
    venue.sell_gpus(START_S, 3)
    asks, sold = await account.book_of("node-1")
    assert ([ask.gpus for ask in asks], sold) == ([1, 4], Sold({START_S: 3}, {"F": {START_S: 3}}))
    assert venue.asked.count("GET orders of one") == 2


async def test_o10_an_agent_reads_its_own_node_alone_and_nothing_again_while_nothing_changes(venue, key):
    other = account_of(venue, key)
    for number in range(20):
        await other.post(f"node-{number}", TERMS, offer(), f"name-{number}")
    account = account_of(venue, key, fresh_for_s=0)
    account.only_node = "node-7"
    venue.asked.clear()
    asks, _ = await account.book_of("node-7")
    assert (len(asks), venue.asked) == (2, ["GET positions", "GET orders", "GET orders of one"])
    venue.asked.clear()
    for _ in range(5):
        assert await account.book_of("node-7") == (asks, Sold())
    assert venue.asked == ["GET positions"] * 5
    venue.positions.append({"node": "node-7", "contract": f"{PRODUCT}-26112112", "qty": 3})
    assert list((await account.book_of("node-7"))[1].all.values()) == [3]


async def test_an_order_that_is_gone_already_counts_as_withdrawn(venue, key):
    await account_of(venue, key).withdraw("node-1", 99)
    assert venue.asked == ["DELETE orders"]


async def test_terms_come_from_market_data_and_an_unlisted_product_has_none(venue, key):
    account = account_of(venue, key)
    assert await account.terms(PRODUCT) == TERMS
    assert await account.terms("H20SXM96.CNE.F") is None


async def test_prices_of_hours_go_out_as_one_floor_or_as_24_by_the_hour_of_the_day(venue, key):
    account = account_of(venue, key)
    prices = {START_S + hour * 3600: 1_000_000 + hour * 10_000 for hour in range(3)}
    await account.post("node-1", TERMS, Offer(START_S, START_S + 10_800, 1, prices), "name-1")
    await account.post("node-1", TERMS, offer(), "name-2", ttl_s=600, split=True)
    hour = START_S // 3600 % 24
    curve = ["1.020000"] * 24
    curve[hour : hour + 2] = ["1.000000", "1.010000"]
    assert venue.posted[0]["floor_curve"] == curve
    assert "floor_price" not in venue.posted[0] and "ttl_s" not in venue.posted[0] and "split" not in venue.posted[0]
    posted = venue.posted[1]
    assert (posted["floor_price"], posted["ttl_s"], posted["split"]) == ("12.840000", 600, True)


async def test_a_refusal_carries_its_code_and_an_outage_is_told_apart_from_it(venue, key):
    account = account_of(venue, key)
    venue.refusals = ["insufficient_capacity"]
    with pytest.raises(VenueRefused, match=r"insufficient_capacity \(422\)") as refused:
        await account.post("node-1", TERMS, offer(1), "name-1")
    assert (refused.value.status, refused.value.code) == (422, "insufficient_capacity")
    venue.down = True
    with pytest.raises(VenueUnreachable, match="the venue is away"):
        await account.book_of("node-1")


async def test_a_failing_server_counts_as_unreachable_whatever_it_answers(key):
    transport = httpx.MockTransport(lambda request: httpx.Response(503, text="<html>"))
    gateway = GatewayClient(httpx.AsyncClient(transport=transport), GATEWAY, MARKET_DATA, key)
    with pytest.raises(VenueUnreachable, match="503"):
        await gateway.call("GET", "/v1/orders")


def test_a_key_file_that_is_no_key_is_named(tmp_path):
    file = tmp_path / "operator-api.ed25519"
    file.write_text("not hex")
    with pytest.raises(BadConfiguration, match=r"operator-api\.ed25519"):
        ApiKey.load("operator", file)
