"""Behaviour moves with the ruleset in the log alone: what a log once led to, it leads to for ever."""

import gzip
import json
from pathlib import Path

import pytest

from schemas.orders import PlaceOrder
from schemas.trading_rules import TradingRules
from schemas.venue import NEWEST_RULESET, SetRuleset
from tests.scenarios.engines import ENGINES
from tests.scenarios.venue import Venue, contract_of, genesis

GOLDEN = Path(__file__).parents[2] / "golden"
UNDER_1 = GOLDEN / "ruleset-1.log.gz"


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


@pytest.mark.parametrize("name", ENGINES)
def test_a_log_of_ruleset_1_replays_to_what_it_led_to_then(name):
    engine, wanted = ENGINES[name](), json.loads(UNDER_1.with_suffix("").with_suffix(".json").read_text())
    events = engine.apply(golden_records(UNDER_1))
    assert {"events": len(events), "seq": engine.seq, "link": engine.link.hex()} == wanted


def test_the_golden_log_of_ruleset_1_leads_elsewhere_under_2():
    (offset, ts_ms, first), *others = golden_records(UNDER_1)
    newer = json.dumps(json.loads(first) | {"ruleset": 2}, separators=(",", ":")).encode()
    events = {}
    for ruleset, value in ((1, first), (2, newer)):
        made = map(json.loads, ENGINES["reference"]().apply([(offset, ts_ms, value), *others]))
        events[ruleset] = [event["type"] for event in made]
    assert events[1] != events[2]
