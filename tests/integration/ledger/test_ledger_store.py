"""The ledger's tables on a real PostgreSQL: one transaction a batch, one writer, nothing negative, nothing edited."""

import asyncio

import asyncpg
import pytest

from schemas.venue import Credit, SetProductState
from services.kit.store import Fenced, Position, commands_json
from services.ledger.domain import AccountKey, Balance, LedgerMismatch, Outcome, Plan, Transfer, plan_batch
from services.ledger.settings import LedgerSettings
from services.ledger.store import LedgerStore, OtherRequest
from tests.fixtures.money_log import CNY, MoneyLog

START = Position(0, 0, None)


@pytest.fixture
async def store(fresh_database: str):
    opened = LedgerStore(LedgerSettings(database_url=fresh_database))
    pool = await opened.open()
    await opened.position()
    yield opened
    await pool.close()


@pytest.fixture
async def database(fresh_database: str):
    connection = await asyncpg.connect(fresh_database, server_settings={"search_path": "ledger"})
    yield connection
    await connection.close()


async def post(store: LedgerStore, log: MoneyLog, old: Position = START) -> Position:
    events = log.events[old.seq :]
    _, balances = await store.balances()
    new = Position(len(log.events), len(log.events), None)
    await store.post(plan_batch(events, balances, await store.delivered([1])), old, new)
    return new


def busy_log() -> MoneyLog:
    log = MoneyLog()
    log.credit("alice", 1_000, "t1")
    log.credit("bob", 500, "t2")
    log.bid("alice", 600)
    log.settle("alice", "site", 28_000, 100, moves=[("alice", 10, -600), ("site", 585, 0), ("venue", 5, 0)])
    log.debit("bob", 200, "t3")
    return log


async def test_a_batch_is_posted_folded_and_balanced(store: LedgerStore):
    log = busy_log()
    await post(store, log)
    seq, balances = await store.balances()
    assert (seq, balances) == (5, {key: Balance(*held) for key, held in log.balances.items()})
    seq, totals, _ = await store.trial_balance()
    assert [tuple(row) for row in totals] == [(CNY, 2_900, 2_900, 6), ("GPU.MS", 28_800_000, 28_800_000, 4)]
    assert await store.audit() == (5, 10, [])


async def test_balances_can_be_read_as_they_were_after_an_earlier_event(store: LedgerStore):
    await post(store, busy_log())
    assert await store.balances(3) == (3, {("alice", CNY): Balance(400, 600), ("bob", CNY): Balance(500, 0)})


async def test_a_second_writer_is_fenced_and_posts_nothing(store: LedgerStore):
    log = busy_log()
    await post(store, log)
    with pytest.raises(Fenced):
        await store.post(plan_batch(log.events, {}, {}), START, Position(5, 5, None))
    assert await store.audit() == (5, 10, [])


async def test_a_batch_that_fails_leaves_nothing_behind(store: LedgerStore):
    log = MoneyLog()
    log.credit("alice", 100)
    old = await post(store, log)
    available, held = AccountKey("alice", CNY, "available"), AccountKey("alice", CNY, "held")
    plan = Plan([Transfer(2, leg, 0, "order_accepted", "", available, held, 60) for leg in (0, 1)])
    with pytest.raises(LedgerMismatch, match="no_negative_balance"):
        await store.post(plan, old, Position(2, 2, None))
    assert await store.balances() == (1, {("alice", CNY): Balance(100, 0)})
    assert await store.position() == old


async def test_only_the_posting_function_writes_the_books(store: LedgerStore, database):
    await post(store, busy_log())
    for statement in (
        "update account set credits_posted = credits_posted + 1",
        "delete from transfer",
        "insert into account (owner, asset, bucket) values ('mallory', 'CNY', 'available')",
        "truncate transfer",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await database.execute(statement)


async def test_dropped_postings_are_rebuilt_from_the_events_to_the_same_balances(store: LedgerStore):
    log = busy_log()
    await post(store, log)
    before = (await store.balances(), await store.audit())
    await store.forget_postings()
    assert await store.balances() == (0, {})
    assert await store.position() == START
    await post(store, log)
    assert (await store.balances(), await store.audit()) == before


async def test_the_halt_is_sent_once_for_the_first_mismatch(store: LedgerStore, database):
    assert await store.halt(LedgerMismatch(7, "first"))
    assert not await store.halt(LedgerMismatch(9, "second"))
    rows = await database.fetch("select number, commands from outbox")
    assert [tuple(row) for row in rows] == [
        (1, commands_json((SetProductState(product=None, state="HALTED", reason="ledger_mismatch"),)))
    ]
    assert (await store.mismatch()).args == ("seq 7: first",)


async def test_a_request_is_sent_once_and_closed_by_its_outcome(store: LedgerStore, database):
    command = Credit(transfer_id="d1", account="alice", asset=CNY, amount_micros=5)
    first, fresh = await store.ask("admin", "key", "deposit", command)
    assert (first.state, fresh) == ("pending", True)
    assert await store.ask("admin", "key", "deposit", command) == (first, False)
    with pytest.raises(OtherRequest):
        await store.ask("admin", "key", "deposit", command.model_copy(update={"amount_micros": 6}))
    await store.ask("admin", "other", "deposit", command.model_copy(update={"transfer_id": "d2"}))
    outcomes = [Outcome("d1", None, "posted", None, 3), Outcome(None, 2, "refused", "transfer_exists", 4)]
    await store.post(Plan(outcomes=outcomes), START, Position(4, 4, None))
    states = [await store.request("admin", key) for key in ("key", "other")]
    assert [(found.state, found.code, found.seq) for found in states] == [
        ("posted", None, 3),
        ("refused", "transfer_exists", 4),
    ]
    assert await database.fetchval("select count(*) from outbox") == 2


async def test_a_repeat_of_what_a_lost_database_forgot_ends_as_the_first_one_did(store: LedgerStore):
    log = MoneyLog()
    log.credit("alice", 5, "d1")
    log.credit("alice", 5, "d2")
    posted = await post(store, log)
    command = Credit(transfer_id="d1", account="alice", asset=CNY, amount_micros=5)
    await store.ask("admin", "key", "deposit", command)
    await store.ask("admin", "dearer", "deposit", Credit(**dict(command) | {"transfer_id": "d2", "amount_micros": 6}))
    outcomes = [Outcome(None, number, "refused", "transfer_exists", 2 + number) for number in (1, 2)]
    await store.post(Plan(outcomes=outcomes), posted, Position(4, 4, None))
    states = [await store.request("admin", key) for key in ("key", "dearer")]
    assert [(found.state, found.code, found.seq) for found in states] == [
        ("posted", None, 1),
        ("refused", "transfer_exists", 4),
    ]


async def test_copies_of_a_request_that_come_at_once_are_one_request(store: LedgerStore, database):
    command = Credit(transfer_id="d1", account="alice", asset=CNY, amount_micros=5)
    answers = await asyncio.gather(*(store.ask("admin", "key", "deposit", command) for _ in range(4)))
    assert len({found for found, _ in answers}) == 1
    assert sorted(fresh for _, fresh in answers) == [False, False, False, True]
    assert await database.fetchval("select count(*) from outbox") == 1


async def test_a_statement_has_every_line_of_its_owner_once_newest_first(store: LedgerStore):
    await post(store, busy_log())
    newest = (2**62, 0, 0)
    lines = [tuple(row)[:3] + tuple(row)[6:] for row in await store.statement("alice", CNY, newest, 100)]
    assert lines == [
        (4, 2, 0, CNY, "held", 5),
        (4, 1, 0, CNY, "held", 585),
        (4, 0, 1, CNY, "available", 10),
        (4, 0, 0, CNY, "held", 10),
        (3, 0, 1, CNY, "held", 600),
        (3, 0, 0, CNY, "available", 600),
        (1, 0, 1, CNY, "available", 1_000),
    ]
    paged, before = [], newest
    while page := await store.statement("alice", CNY, before, 2):
        paged += [tuple(row)[:3] + tuple(row)[6:] for row in page]
        before = tuple(page[-1])[:3]
    assert paged == lines
