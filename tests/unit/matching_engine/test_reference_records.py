"""Which records of the log are taken: canonical commands of known services, in order; all else becomes an event."""

import json
from hashlib import sha256

import pytest

from matching_engine import OffsetGap
from matching_engine.rules import Engine
from schemas.orders import MassCancel
from schemas.venue import NEWEST_RULESET, Credit, Epoch, ServiceKey, Tick
from tests.scenarios.engines import ENGINES
from tests.scenarios.venue import KEYS, MIDNIGHT_MS, Venue, genesis, public_key, signed

CREDIT = Credit(transfer_id="t1", account="alice", asset="CNY", amount_micros=5)
HEADER = ("type", "shard", "seq", "in_offset", "index", "count", "ts_ms", "prev_link")


def bodies(events: list[dict]) -> list[dict]:
    """The events without their headers, but with their types."""
    return [{name: value for name, value in event.items() if name not in HEADER[1:]} for event in events]


def rejection(code: str, source: str | None = None, number: int | None = None) -> list[dict]:
    return [{"type": "record_rejected", "source": source, "number": number, "code": code}]


def test_genesis_names_the_shard_and_comes_once():
    venue = Venue(Engine(), with_genesis=False)
    assert bodies(venue.send(Tick())) == rejection("no_genesis")
    assert bodies(venue.send(signed("ledger", 1, (CREDIT,)))) == rejection("no_genesis", "ledger", 1)
    assert bodies(venue.send(genesis(ruleset=NEWEST_RULESET + 1))) == rejection("genesis_refused")
    twice = genesis().service_keys[:1] * 2
    assert bodies(venue.send(genesis(service_keys=twice))) == rejection("genesis_refused")
    assert bodies(venue.send(genesis(shard=3))) == [
        {"type": "genesis_applied", "ruleset": NEWEST_RULESET, "sources": list(KEYS)},
    ]
    assert venue.engine.shard == 3
    assert venue.send(Tick()) == []
    assert bodies(venue.send(genesis())) == rejection("genesis_refused")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b'{"type":"tick"} ',
        b'{"type":"tick","type":"tick"}',
        b'{"type":"tack"}',
        b'{"type":"mass_cancel","account":"a","command_id":"c","product":null,"contract":null,"side":null}',
        b'{"type":"mass_cancel","command_id":"c","account":"a\\u0062","product":null,"contract":null,"side":null}',
        b'{"type":"mass_cancel","command_id":"c\\n","account":"a","product":null,"contract":null,"side":null}',
        b'{"type":"tick"' + b" " * 600_000 + b"}",
        b"[" * 100_000,
    ],
)
def test_bytes_that_are_no_canonical_command_are_malformed(raw: bytes):
    assert bodies(Venue(Engine()).send(raw)) == rejection("malformed")


def test_a_service_numbers_its_batches_without_holes():
    venue = Venue(Engine())
    applied = venue.send(signed("ledger", 1, (CREDIT,)))
    assert [event["type"] for event in applied] == ["credited"]
    assert bodies(venue.send(signed("ledger", 1, (CREDIT,)))) == rejection("duplicate", "ledger", 1)
    assert bodies(venue.send(signed("ledger", 3, (CREDIT,)))) == rejection("number_gap", "ledger", 3)
    again = bodies(venue.send(signed("ledger", 2, (CREDIT,))))
    assert again == [
        {
            "type": "command_rejected",
            "source": "ledger",
            "number": 2,
            "position": 0,
            "command": "credit",
            "code": "transfer_exists",
        }
    ]
    assert venue.engine.balances() == [("alice", "CNY", 5, 0)]


def test_a_batch_counts_only_with_its_sources_own_signature_over_number_and_commands():
    venue = Venue(Engine())
    good = signed("ledger", 1, (CREDIT,))
    for forged in (
        good.model_copy(update={"signature": "0" * 128}),
        good.model_copy(update={"number": 2}),
        good.model_copy(update={"source": "delivery"}),
        good.model_copy(update={"commands": (CREDIT.model_copy(update={"amount_micros": 6}),)}),
    ):
        assert bodies(venue.send(forged)) == rejection("bad_signature", forged.source, forged.number)
    assert venue.engine.balances() == []


def test_a_source_that_genesis_did_not_name_is_unknown_until_admin_sets_its_key():
    venue = Venue(Engine(), with_genesis=False)
    venue.send(genesis(service_keys=tuple(key for key in genesis().service_keys if key.source == "admin")))
    assert bodies(venue.send(signed("ledger", 1, (CREDIT,)))) == rejection("unknown_source", "ledger", 1)
    venue.batch("admin", ServiceKey(source="ledger", public_key=public_key("ledger")))
    assert [event["type"] for event in venue.send(signed("ledger", 1, (CREDIT,)))] == ["credited"]
    venue.batch("admin", ServiceKey(source="ledger", public_key=public_key("delivery")))
    assert bodies(venue.send(signed("ledger", 2, (CREDIT,)))) == rejection("bad_signature", "ledger", 2)


def test_a_command_without_permission_is_refused_and_the_rest_of_its_batch_stands():
    venue = Venue(Engine())
    venue.batch(
        "ledger", Credit(transfer_id="t0", account="alice", asset="CNY", amount_micros=1), Epoch(epoch=1), CREDIT
    )
    assert [json.loads(event)["type"] for event in venue.events[-3:]] == ["credited", "command_rejected", "credited"]
    assert json.loads(venue.events[-2])["code"] == "not_permitted"
    assert (venue.engine.epoch, venue.engine.balances()) == (0, [("alice", "CNY", 6, 0)])


def test_log_time_never_goes_back():
    venue = Venue(Engine())
    venue.now_ms = MIDNIGHT_MS - 5000
    assert venue.credit("alice", 1)[0]["ts_ms"] == MIDNIGHT_MS
    assert venue.engine.log_time_ms == MIDNIGHT_MS


def test_a_record_that_is_not_the_next_is_an_error_and_changes_nothing():
    venue = Venue(Engine())
    before = venue.engine.snapshot()
    for offset in (0, 2):
        with pytest.raises(OffsetGap):
            venue.engine.apply([(offset, MIDNIGHT_MS, Tick().canonical())])
    assert venue.engine.snapshot() == before


@pytest.mark.parametrize("engine_class", ENGINES.values(), ids=ENGINES)
def test_the_records_before_a_gap_in_a_batch_stand(engine_class):
    whole, cut = Venue(engine_class()), Venue(engine_class())
    last = len(cut.records)
    with pytest.raises(OffsetGap, match=f"record at offset {last + 2}, expected offset {last + 1}"):
        cut.engine.apply([(offset, MIDNIGHT_MS, Tick().canonical()) for offset in (last, last + 2)])
    whole.send(Tick())
    assert cut.engine.snapshot() == whole.engine.snapshot()


def test_every_record_with_events_has_one_link_and_its_events_are_numbered():
    venue = Venue(Engine())
    records = [list(venue.events)]
    for act in (venue.define, lambda: venue.node("n1", "op", 2), lambda: venue.send(Tick())):
        act()
        records.append(venue.events[sum(map(len, records)) :])
    link, seq = b"\0" * 32, 0
    for offset, events in enumerate(records):
        for index, event in enumerate(events):
            seq += 1
            expected = (0, seq, offset, index, len(events), MIDNIGHT_MS, link.hex())
            assert tuple(json.loads(event)[name] for name in HEADER[1:]) == expected
        link = sha256(link + b"".join(events)).digest() if events else link
    assert [len(events) for events in records] == [2, 3, 2, 0]
    assert (venue.engine.link, venue.engine.seq) == (link, 7)


def test_the_digest_of_balances_closes_every_record_whose_offset_divides_by_4096():
    venue = Venue(Engine())
    venue.credit("bob", 7)
    venue.credit("alice", 5, "USD")
    cancel = MassCancel(command_id="c", account="alice", product=None, contract=None, side=None)
    while len(venue.records) < 4097:
        events = venue.send(cancel)
    lines = b"alice|USD|5|0\nbob|CNY|7|0\n"
    assert [(event["type"], event.get("digest")) for event in events] == [
        ("cancel_done", None),
        ("balance_digest", sha256(lines).hexdigest()),
    ]
    assert sum(b'"balance_digest"' in event for event in venue.events) == 2
