"""Behaviour moves with the ruleset in the log alone: what a log once led to, it leads to for ever."""

import gzip
import json
from pathlib import Path

import pytest

from schemas.orders import PlaceOrder, ReplaceOrder, Resell
from schemas.trading_rules import TradingRules
from schemas.venue import (
    NEWEST_RULESET,
    CloseDispute,
    EndBlock,
    OpenDispute,
    SetProductState,
    SetRuleset,
    SettleDisputed,
)
from tests.scenarios.engines import ENGINES
from tests.scenarios.venue import PRODUCT, Venue, contract_of, genesis, hour_start_s

GOLDEN = Path(__file__).parents[2] / "golden"


def golden_records(path: Path) -> list[tuple[int, int, bytes]]:
    """A recorded log: one record a line, offset, milliseconds and value."""
    lines = (line.split(b" ", 2) for line in gzip.decompress(path.read_bytes()).splitlines())
    return [(int(offset), int(ts_ms), value) for offset, ts_ms, value in lines]


def order(number: int, account: str, **terms) -> PlaceOrder:
    usual = {"kind": "limit", "price_micros": None, "max_cost_micros": None, "tif": "GTG", "node": None}
    named = {"command_id": f"c{number}", "account": account, "client_order_id": f"o{number}"}
    return PlaceOrder(**named, contract=contract_of(13), post_only=False, stp="cancel_newest", **usual | terms)


def banded_venue(engine, ruleset: int) -> Venue:
    """Asks at 1.05 and 1.50 where the last trade was at 1.00 and prices may be 10 % off it."""
    venue = Venue(engine, with_genesis=False)
    venue.send(genesis(ruleset=ruleset))
    venue.define()
    for account in ("alice", "op"):
        venue.credit(account, 1_000_000_000)
    venue.node("n1", "op", 8)
    for number, price_micros in enumerate((1_000_000, 1_050_000, 1_500_000)):
        venue.send(order(number, "op", side="sell", qty=1, price_micros=price_micros, node="n1"))
    venue.send(order(3, "alice", side="buy", qty=1, price_micros=1_000_000))
    venue.define(trading=TradingRules(price_band_permille=100))
    return venue


def bought(events: list[dict]) -> tuple[list[int], str | None]:
    """The prices of the trades, and why no more."""
    prices = [event["price_micros"] for event in events if event["type"] == "trade"]
    ends = [event["why_unfilled"]["reason"] for event in events if event["type"] == "order_canceled"]
    return prices, ends[0] if ends else None


@pytest.mark.parametrize("name", ENGINES)
def test_a_market_order_is_stopped_by_its_money_under_1_and_by_the_band_since_2(name):
    wanted = {"side": "buy", "qty": 2, "kind": "market", "max_cost_micros": 9_000_000}
    old, new, moved = (banded_venue(ENGINES[name](), ruleset) for ruleset in (1, 2, 1))
    moved.batch("admin", SetRuleset(ruleset=2))
    assert bought(old.send(order(4, "alice", **wanted))) == ([1_050_000, 1_500_000], None)
    for venue in (new, moved):
        assert bought(venue.send(order(4, "alice", **wanted))) == ([1_050_000], "price_band")
    refusal = new.send(order(5, "alice", **wanted | {"qty": 1, "tif": "FOK"}))
    assert [(event["code"], event["why_unfilled"]["reason"]) for event in refusal] == [("fok_not_filled", "price_band")]


@pytest.mark.parametrize("name", ENGINES)
def test_rules_go_forward_and_no_further_than_the_engine_knows(name):
    venue = Venue(ENGINES[name](), with_genesis=False)
    venue.send(genesis(ruleset=1))
    answers = [
        venue.batch("admin", SetRuleset(ruleset=ruleset))[0]
        for ruleset in (1, NEWEST_RULESET + 1, NEWEST_RULESET, NEWEST_RULESET)
    ]
    told = [(answer["type"], answer.get("code") or answer["ruleset"]) for answer in answers]
    refused = ("command_rejected", "bad_terms")
    assert told == [refused, refused, ("ruleset_set", NEWEST_RULESET), refused]


@pytest.mark.parametrize("ruleset", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("name", ENGINES)
def test_a_log_of_a_ruleset_replays_to_what_it_led_to_then(name, ruleset):
    log = GOLDEN / f"ruleset-{ruleset}.log.gz"
    engine, wanted = ENGINES[name](), json.loads((GOLDEN / f"ruleset-{ruleset}.json").read_text())
    events = engine.apply(golden_records(log))
    assert {"events": len(events), "seq": engine.seq, "link": engine.link.hex()} == wanted


@pytest.mark.parametrize("name", ENGINES)
def test_disputes_and_ended_blocks_are_refused_before_ruleset_3(name):
    meter = {"excused_gpu_s": 0, "delivered_gpu_s": 3600, "used_gpu_s": 0, "noticed": False, "recalled_gpus": 0}
    disputed = {"disputed_gpu_s": 0, "disputed_used_gpu_s": 0, "meter_digest": "0" * 64}
    commands = (
        SettleDisputed(position_id=1, revision=1, **meter, **disputed),
        OpenDispute(position_id=1, opened_by="buyer", reason="no_access"),
        CloseDispute(position_id=1, reason="nothing"),
        EndBlock(block_id=1, account="alice", reason="outage"),
    )
    venue = Venue(ENGINES[name](), with_genesis=False)
    venue.send(genesis(ruleset=2))
    assert [event["code"] for event in venue.batch("delivery", *commands)] == ["not_permitted"] * 4
    venue.batch("admin", SetRuleset(ruleset=3))
    refused = ["unknown_position"] * 3 + ["unknown_order"]
    assert [event["code"] for event in venue.batch("delivery", *commands)] == refused


@pytest.mark.parametrize(("ruleset", "other"), [(1, 2), (3, 2), (4, 3), (5, 4)])
def test_a_golden_log_leads_elsewhere_under_another_ruleset(ruleset, other):
    records = golden_records(GOLDEN / f"ruleset-{ruleset}.log.gz")
    named, renamed = (b'{"type":"genesis","shard":0,"ruleset":%d,' % each for each in (ruleset, other))
    others = [(offset, ts_ms, value.replace(named, renamed)) for offset, ts_ms, value in records]
    assert others != records
    events = [[json.loads(event)["type"] for event in ENGINES["reference"]().apply(log)] for log in (records, others)]
    assert events[0] != events[1]


def resold_in_auction(engine, ruleset: int) -> list[tuple[int, int, int]]:
    """Quantity, maker's and taker's remainder of each trade of an auction that sells two positions again."""
    venue = Venue(engine, with_genesis=False)
    venue.send(genesis(ruleset=ruleset))
    venue.define()
    for account in ("alice", "bob", "op"):
        venue.credit(account, 1_000_000_000)
    venue.node("n1", "op", 8)
    venue.send(order(1, "op", side="sell", qty=2, price_micros=10_000_000, node="n1"))
    for number in (2, 3):
        venue.send(order(number, "alice", side="buy", qty=1, price_micros=10_000_000))
    venue.batch("admin", SetProductState(product=None, state="AUCTION", reason="test"))
    venue.send(order(4, "bob", side="buy", qty=3, price_micros=12_000_000))
    venue.send(order(5, "alice", side="sell", qty=2, price_micros=10_000_000))
    events = venue.batch("admin", SetProductState(product=None, state="OPEN", reason="test"))
    names = ("qty", "maker_left", "taker_left")
    return [tuple(event[name] for name in names) for event in events if event["type"] == "trade"]


@pytest.mark.parametrize("name", ENGINES)
def test_each_part_of_an_auctions_resale_tells_since_4_what_it_left_of_the_bid(name):
    assert resold_in_auction(ENGINES[name](), 3) == [(1, 1, 1), (1, 0, 1)]
    assert resold_in_auction(ENGINES[name](), 4) == [(1, 1, 2), (1, 0, 1)]


def named_resale(engine, ruleset: int, **named) -> Venue:
    """Two positions of alice's, 1 of one GPU and 2 of two, of which she offers one GPU again."""
    venue = Venue(engine, with_genesis=False)
    venue.send(genesis(ruleset=ruleset))
    venue.define()
    for account in ("alice", "bob", "op"):
        venue.credit(account, 1_000_000_000)
    venue.node("n1", "op", 8)
    venue.send(order(1, "op", side="sell", qty=3, price_micros=10_000_000, node="n1"))
    for number, qty in ((2, 1), (3, 2)):
        venue.send(order(number, "alice", side="buy", qty=qty, price_micros=10_000_000))
    window = {"from_s": hour_start_s(13), "to_s": hour_start_s(14), "qty": 1, "price_micros": 11_000_000}
    ids = {"command_id": "c4", "account": "alice", "client_order_id": "o4", "product": PRODUCT}
    venue.send(Resell(**ids, **window, **{"position_id": None, "block_id": None} | named))
    return venue


def grown(venue: Venue, qty: int) -> str:
    named = {"command_id": "c5", "account": "alice", "order_id": 5, "client_order_id": None, "replace_id": None}
    event = venue.send(ReplaceOrder(**named, qty=qty, price_micros=None, expires_ms=None))[0]
    return event.get("code", event["type"])


@pytest.mark.parametrize("restored", [False, True])
@pytest.mark.parametrize("name", ENGINES)
def test_a_resale_of_a_named_position_grows_into_no_other_since_4(name, restored):
    engine = ENGINES[name]
    for ruleset, named, qty, answer in (
        (3, {"position_id": 1}, 3, "order_replaced"),
        (4, {"position_id": 1}, 3, "unbacked_ask"),
        (4, {"position_id": 2}, 2, "order_replaced"),
        (4, {"position_id": 2}, 3, "unbacked_ask"),
        (4, {}, 3, "order_replaced"),
    ):
        venue = named_resale(engine(), ruleset, **named)
        if restored:
            venue.engine = engine.restore(venue.engine.snapshot())
        assert grown(venue, qty) == answer, (ruleset, named, qty)
