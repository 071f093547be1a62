"""Rules of double entry: every event balances, agrees with the engine, and becomes transfers named by their cause."""

from hashlib import sha256

import pytest

from schemas.events import Posting
from services.ledger.domain import (
    AccountKey,
    Balance,
    Delivered,
    LedgerMismatch,
    Outcome,
    Transfer,
    corrected_positions,
    digest_balances,
    plan_batch,
)
from tests.fixtures.event_log import BEFORE_MS, EventLog
from tests.fixtures.money_log import CNY, MoneyLog, settled

ALICE = AccountKey("alice", CNY, "available")
ALICE_HELD = AccountKey("alice", CNY, "held")
SITE = AccountKey("site", CNY, "available")
VENUE = AccountKey("venue", CNY, "available")
OUTSIDE = AccountKey("external", CNY, "external")
IN_TRANSIT = AccountKey("in_transit", CNY, "in_transit")


def gpu_time(owner: str, bucket: str) -> AccountKey:
    return AccountKey(owner, "GPU.MS", bucket)


def plan_of(log: EventLog):
    return plan_batch(log.events, {}, {})


def test_money_from_outside_stands_against_the_external_account():
    log = MoneyLog()
    log.credit("alice", 100, "t1")
    log.debit("alice", 30, "t2")
    plan = plan_of(log)
    assert plan.transfers == [
        Transfer(1, 0, BEFORE_MS, "credited", "transfer:t1", OUTSIDE, ALICE, 100),
        Transfer(2, 0, BEFORE_MS, "debited", "transfer:t2", ALICE, OUTSIDE, 30),
    ]
    assert plan.balances == {("alice", CNY): Balance(70, 0)}
    assert plan.outcomes == [Outcome("t1", None, "posted", None, 1), Outcome("t2", None, "posted", None, 2)]


def test_money_between_shards_stands_in_transit_until_the_other_shard_takes_it_in():
    log = MoneyLog()
    log.credit("alice", 100, "t1")
    log.let_go("alice", 40, "t2")
    log.take_in("alice", 25, "t3")
    plan = plan_of(log)
    assert plan.transfers[1:] == [
        Transfer(2, 0, BEFORE_MS, "deallocated", "transfer:t2", ALICE, IN_TRANSIT, 40),
        Transfer(3, 0, BEFORE_MS, "allocated", "transfer:t3", IN_TRANSIT, ALICE, 25),
    ]
    assert plan.balances == {("alice", CNY): Balance(85, 0)}
    assert [outcome.transfer_id for outcome in plan.outcomes] == ["t1", "t2", "t3"]


def test_vouchers_come_into_being_with_the_money_that_their_issuer_holds_for_them():
    log = MoneyLog()
    log.credit("city", 100)
    log.fund_programme("city", "CITY", 60, "f")
    plan = plan_of(log)
    cause = (BEFORE_MS, "programme_funded", "transfer:f")
    city = AccountKey("city", CNY, "available"), AccountKey("city", CNY, "held")
    issued, budget = AccountKey("issued", "V.CITY", "external"), AccountKey("city", "V.CITY", "available")
    assert plan.transfers[1:] == [Transfer(2, 0, *cause, *city, 60), Transfer(2, 1, *cause, issued, budget, 60)]
    assert plan.balances == {("city", CNY): Balance(40, 60), ("city", "V.CITY"): Balance(60, 0)}


def test_currencies_never_mix_within_an_event():
    log = MoneyLog()
    log.credit("alice", 9)
    both = log.postings(("alice", -4, 0)) + log.postings(("site", 4, 0), asset="USD")
    log.command(("PositionFinalized", {"position_id": 1, "postings": both}))
    with pytest.raises(LedgerMismatch, match=r"seq 2: position_finalized: 4 CNY go nowhere"):
        plan_of(log)


def test_a_hold_moves_money_between_two_accounts_of_the_same_owner():
    log = MoneyLog()
    log.credit("alice", 100)
    log.bid("alice", 60)
    plan = plan_of(log)
    assert plan.transfers[1:] == [Transfer(2, 0, BEFORE_MS, "order_accepted", "order:1", ALICE, ALICE_HELD, 60)]
    assert plan.balances == {("alice", CNY): Balance(40, 60)}


def test_a_settlement_pays_refunds_and_fees_and_accounts_for_every_gpu_millisecond():
    log = MoneyLog()
    log.credit("alice", 100)
    log.bid("alice", 100)
    log.settle(
        "alice", "site", delivered=28_000, excused=300, moves=[("alice", 10, -100), ("site", 85, 0), ("venue", 5, 0)]
    )
    plan = plan_of(log)
    contracted = gpu_time("site", "contracted")
    cause = (BEFORE_MS, "position_settled", "position:1")
    assert plan.transfers[2:] == [
        Transfer(3, 0, *cause, ALICE_HELD, ALICE, 10),
        Transfer(3, 1, *cause, ALICE_HELD, SITE, 85),
        Transfer(3, 2, *cause, ALICE_HELD, VENUE, 5),
        Transfer(3, 3, *cause, contracted, gpu_time("alice", "delivered"), 28_000_000),
        Transfer(3, 4, *cause, contracted, gpu_time("alice", "excused"), 300_000),
        Transfer(3, 5, *cause, contracted, gpu_time("alice", "undelivered"), 500_000),
    ]


def test_a_correction_posts_only_the_difference_in_gpu_time():
    log = MoneyLog()
    log.settle("alice", "site", delivered=28_800)
    log.settle("alice", "site", delivered=28_000, excused=100, revision=2)
    plan = plan_of(log)
    cause = (BEFORE_MS, "position_settled", "position:1")
    delivered = gpu_time("alice", "delivered")
    assert plan.transfers[1:] == [
        Transfer(2, 0, *cause, delivered, gpu_time("alice", "excused"), 100_000),
        Transfer(2, 1, *cause, delivered, gpu_time("alice", "undelivered"), 700_000),
    ]
    assert corrected_positions(log.events) == [1]
    assert plan_batch(log.events[1:], {}, {1: Delivered(28_800, 0)}).transfers == plan.transfers[1:]


def test_an_event_whose_postings_do_not_balance_is_a_mismatch():
    log = MoneyLog()
    log.command(
        ("PositionSettled", settled("alice", "site", 0, 0, 1) | {"postings": (Posting("site", CNY, 5, 0, 5, 0),)})
    )
    with pytest.raises(LedgerMismatch, match=r"seq 1: position_settled: 5 CNY come from nowhere"):
        plan_of(log)
    log = MoneyLog()
    log.credit("alice", 9)
    log.command(("PositionFinalized", {"position_id": 1, "postings": log.postings(("alice", -4, 0))}))
    with pytest.raises(LedgerMismatch, match=r"seq 2: position_finalized: 4 CNY go nowhere"):
        plan_of(log)


def test_a_credit_whose_amount_is_not_its_posting_is_a_mismatch():
    log = MoneyLog()
    log.transfer("Credited", "alice", 100, ("alice", 99, 0), "t")
    with pytest.raises(LedgerMismatch, match=r"seq 1: credited: 1 CNY go nowhere"):
        plan_of(log)


def test_another_balance_than_the_engines_is_a_mismatch():
    log = MoneyLog()
    log.credit("alice", 100)
    log.balances["alice", CNY] = (101, 0)
    log.bid("alice", 60)
    with pytest.raises(
        LedgerMismatch, match=r"seq 2: alice/CNY: the engine has 41 available and 60 held, the ledger 40"
    ):
        plan_of(log)


def test_the_digest_covers_all_balances_in_the_order_of_account_then_asset():
    balances = {("ab", CNY): Balance(1, 2), ("a", "USD"): Balance(0, 0), ("a", CNY): Balance(3, 0)}
    assert digest_balances(balances) == sha256(b"a|CNY|3|0\na|USD|0|0\nab|CNY|1|2\n").hexdigest()


def test_a_digest_is_compared_with_the_balances_at_its_own_place_in_the_batch():
    log = MoneyLog()
    log.credit("alice", 100)
    log.digest(digest_balances({("alice", CNY): Balance(100, 0), ("bob", "USD"): Balance(7, 0)}))
    log.bid("alice", 60)
    before = {("bob", "USD"): Balance(7, 0)}
    assert plan_batch(log.events, before, {}).balances == {("alice", CNY): Balance(40, 60)}
    with pytest.raises(LedgerMismatch, match=r"seq 2: digest of all balances"):
        plan_of(log)


def test_a_refusal_of_the_engine_closes_the_request_of_that_number():
    log = MoneyLog()
    log.refusal(4, "insufficient_funds")
    assert plan_of(log).outcomes == [Outcome(None, 4, "refused", "insufficient_funds", 1)]


def test_an_event_that_cannot_be_posted_is_a_difference_at_its_place(monkeypatch):
    log = MoneyLog()
    log.credit("alice", 100, "t1")
    log.debit("alice", 30, "t2")
    monkeypatch.setattr("services.ledger.domain.Outcome", lambda *_: {}["nobody thought of this"])
    with pytest.raises(LedgerMismatch, match="credited cannot be posted: KeyError") as mismatch:
        plan_of(log)
    assert mismatch.value.seq == 1
