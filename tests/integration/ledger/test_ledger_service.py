"""The ledger as a service beside real logs: it posts each event once, answers over HTTP, and halts on a difference."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from clients.http import Credentials, new_credentials, open_async_client
from infra.embedded import Running
from infra.keys import make_keys
from infra.ports import free_port
from schemas import signing
from schemas.commands import read_command
from schemas.topics import COMMANDS, EVENTS, KEYS_EVENTS
from schemas.venue import Credit, Deallocate, Debit, SetProductState, VenueCommand
from schemas.vouchers import FundProgramme, IssueVoucher
from services.ledger.app import LedgerService
from services.ledger.domain import Balance, digest_balances
from services.ledger.settings import LedgerSettings
from tests.fixtures.command_log import consume, produce
from tests.fixtures.keys import new_key, root_of
from tests.fixtures.money_log import CNY, MoneyLog

TRIAL_BALANCE = "/v1/ledger/trial-balance"
ADMIN, ALICE, BOB = new_credentials("admin"), new_credentials("alice"), new_credentials("bob")


@dataclass
class Venue:
    """A broker, a database, keys, and the events that an engine would have written."""

    settings: LedgerSettings
    log: MoneyLog
    written: int = 0

    async def write(self) -> int:
        """Appends the log's new events to the topic; returns the last sequence."""
        fresh = [event.canonical() for event in self.log.events[self.written :]]
        self.written = len(self.log.events)
        await produce(self.settings.kafka, EVENTS.name, *fresh)
        return self.written

    async def commands(self) -> list[VenueCommand]:
        """What the ledger sent to the engine."""
        records = await consume(self.settings.kafka, COMMANDS.name)
        return [command for record in records for command in read_command(record).commands]

    async def commanded(self, count: int) -> list[VenueCommand]:
        """Waits for that many commands."""
        async with asyncio.timeout(20):
            while len(commands := await self.commands()) < count:
                await asyncio.sleep(0.05)
        return commands


@pytest.fixture
async def venue(own_kafka: Running, fresh_database: str, tmp_path: Path) -> Venue:
    make_keys(tmp_path / "keys")
    owners = [(credentials, credentials.key_id, ("read", "withdraw")) for credentials in (ALICE, BOB)]
    eve = (new_credentials("k-eve"), "eve", ("read",))
    for credentials, account, scopes in ((ADMIN, "venue-admin", ("admin",)), *owners, eve):
        record = new_key(root_of(tmp_path / "keys"), account, credentials, *scopes)
        await produce(own_kafka.address, KEYS_EVENTS.name, record.canonical())
    settings = LedgerSettings(
        kafka=own_kafka.address, database_url=fresh_database, data=tmp_path, ledger_port=free_port()
    )
    return Venue(settings, MoneyLog())


@asynccontextmanager
async def serving(venue: Venue, rebuild: bool = False) -> AsyncIterator["Client"]:
    task = asyncio.create_task(run(venue, rebuild))
    client = Client(f"http://127.0.0.1:{venue.settings.ledger_port}")
    try:
        await client.until(lambda answer: task.done() or answer.status_code == 200, "/readyz")
        yield client
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class Client:
    """Asks one ledger, as someone or as nobody."""

    def __init__(self, url: str):
        self._url = url

    async def ask(self, method: str, path: str, who: Credentials | None = None, **rest) -> httpx.Response:
        async with open_async_client(self._url, who) as client:
            return await client.request(method, path, **rest)

    async def until(self, holds, path: str, who: Credentials | None = None) -> httpx.Response:
        async with asyncio.timeout(30):
            while True:
                with suppress(httpx.TransportError):
                    if holds(answer := await self.ask("GET", path, who)):
                        return answer
                await asyncio.sleep(0.05)

    async def deposit(self, amount: str, key: str = "key", who: Credentials | None = ADMIN) -> httpx.Response:
        form = {"account": "alice", "asset": CNY, "amount": amount}
        return await self.ask("POST", "/v1/deposits", who, json=form, headers={"Idempotency-Key": key})

    async def balances(self, seq: int) -> tuple[int, dict[tuple[str, str], Balance], str]:
        answer = (await self.ask("GET", "/v1/ledger/balances", ADMIN, params={"seq": seq})).json()
        rows = {(row["account"], row["asset"]): row for row in answer["balances"]}
        held = {key: Balance(row["available_micros"], row["held_micros"]) for key, row in rows.items()}
        return answer["seq"], held, answer["balance_digest"]


def truth(venue: Venue) -> tuple[int, dict[tuple[str, str], Balance], str]:
    balances = {key: Balance(*held) for key, held in venue.log.balances.items()}
    return len(venue.log.events), balances, digest_balances(balances)


async def test_a_deposit_is_commanded_once_and_answered_when_it_is_posted(venue: Venue):
    async with serving(venue) as client:
        asking = asyncio.create_task(client.deposit("12.5"))
        [credit] = await venue.commanded(1)
        assert (type(credit), credit.account, credit.asset, credit.amount_micros) == (Credit, "alice", CNY, 12_500_000)
        venue.log.credit("alice", 12_500_000, credit.transfer_id)
        await venue.write()
        first = await asking
        body = {"transfer_id": credit.transfer_id, "kind": "deposit", "account": "alice", "asset": CNY,
                "amount": "12.50", "state": "posted", "seq": 1}  # fmt: skip
        assert (first.status_code, first.json()) == (201, body)
        again = await client.deposit("12.5")
        assert (again.status_code, again.json(), again.headers["Idempotent-Replayed"]) == (200, body, "true")
        assert (await client.deposit("13")).json()["code"] == "conflict"
        assert await venue.commands() == [credit]
        assert await client.balances(1) == truth(venue)


async def test_a_withdrawal_beyond_what_is_available_is_refused_with_the_engines_reason(venue: Venue):
    async with serving(venue) as client:
        form = {"asset": CNY, "amount": "7"}
        headers = {"Idempotency-Key": "w"}
        asking = asyncio.create_task(client.ask("POST", "/v1/withdrawals", ALICE, json=form, headers=headers))
        [debit] = await venue.commanded(1)
        assert (type(debit), debit.account, debit.amount_micros) == (Debit, "alice", 7_000_000)
        venue.log.refusal(1, "insufficient_funds")
        await venue.write()
        answer = await asking
        assert (answer.status_code, answer.json()["code"]) == (422, "insufficient_funds")


async def test_two_callers_may_use_one_idempotency_key_and_each_gets_his_own_answer(venue: Venue):
    async with serving(venue) as client:

        def withdraw(who: Credentials, amount: str) -> Awaitable[httpx.Response]:
            form, headers = {"asset": CNY, "amount": amount}, {"Idempotency-Key": "w"}
            return client.ask("POST", "/v1/withdrawals", who, json=form, headers=headers)

        asking = [asyncio.create_task(withdraw(who, amount)) for who, amount in ((ALICE, "7"), (BOB, "5"))]
        debits = {debit.account: debit for debit in await venue.commanded(2)}
        assert {account: debit.amount_micros for account, debit in debits.items()} == {
            "alice": 7_000_000,
            "bob": 5_000_000,
        }
        venue.log.credit("alice", 9_000_000, "t1")
        venue.log.credit("bob", 9_000_000, "t2")
        for account, debit in debits.items():
            venue.log.debit(account, debit.amount_micros, debit.transfer_id)
        await venue.write()
        answers = [await each for each in asking]
        assert [(answer.status_code, answer.json()["transfer_id"], answer.json()["amount"]) for answer in answers] == [
            (201, debits["alice"].transfer_id, "7.00"),
            (201, debits["bob"].transfer_id, "5.00"),
        ]
        assert debits["alice"].transfer_id != debits["bob"].transfer_id


async def test_money_moves_to_another_shard_once_and_only_to_one_that_the_venue_has(venue: Venue):
    venue.settings = venue.settings.model_copy(update={"ledger_shards": (0, 1)})
    venue.log.credit("alice", 9_000_000)
    await venue.write()
    async with serving(venue) as client:

        async def move(to_shard: int) -> httpx.Response:
            form = {"asset": CNY, "amount": "4", "to_shard": to_shard}
            return await client.ask(
                "POST", "/v1/shard-transfers", ALICE, json=form, headers={"Idempotency-Key": f"m{to_shard}"}
            )

        asking = asyncio.create_task(move(1))
        [command] = await venue.commanded(1)
        assert (type(command), command.account, command.amount_micros) == (Deallocate, "alice", 4_000_000)
        venue.log.let_go("alice", 4_000_000, command.transfer_id)
        await venue.write()
        answers = [await asking, await move(1), await move(0), await move(2)]
        assert [answer.status_code for answer in answers] == [201, 200, 422, 422]
        assert await venue.commands() == [command]
        totals = (await client.ask("GET", TRIAL_BALANCE)).json()
        [cny] = totals["assets"]
        assert totals["balanced"] and cny["balances"] == {"available": 5_000_000, "external": -9_000_000,
                                                          "in_transit": 4_000_000}  # fmt: skip


async def test_an_issuer_funds_his_programme_and_issues_vouchers_once(venue: Venue):
    venue.log.credit("alice", 9_000_000)
    await venue.write()
    async with serving(venue) as client:

        async def post(path: str, form: dict, key: str) -> httpx.Response:
            path = f"/v1/programmes/CITY/{path}"
            return await client.ask("POST", path, ALICE, json=form, headers={"Idempotency-Key": key})

        asking = asyncio.create_task(post("fund", {"amount": "5"}, "f"))
        [fund] = await venue.commanded(1)
        assert (type(fund), fund.issuer, fund.programme, fund.amount_micros) == (
            FundProgramme,
            "alice",
            "CITY",
            5_000_000,
        )
        venue.log.fund_programme("alice", "CITY", 5_000_000, fund.transfer_id)
        await venue.write()
        funded = await asking
        assert (funded.status_code, funded.json()["asset"], funded.json()["state"]) == (201, "V.CITY", "posted")
        asking = asyncio.create_task(post("vouchers", {"account": "bob", "amount": "2"}, "i"))
        issue = (await venue.commanded(2))[-1]
        assert (type(issue), issue.issuer, issue.account) == (IssueVoucher, "alice", "bob")
        venue.log.refusal(2, "holder_cap")
        await venue.write()
        assert (
            (await asking).status_code,
            (await post("vouchers", {"account": "eve", "amount": "2"}, "i")).status_code,
        ) == (
            422,
            409,
        )
        assert await client.balances(3) == truth(venue)


async def test_an_unanswered_deposit_is_pending_and_not_refused(venue: Venue):
    venue.settings = venue.settings.model_copy(update={"ledger_answer_wait_s": 0.2})
    async with serving(venue) as client:
        answer = await client.deposit("1")
        assert (answer.status_code, answer.json()["state"]) == (202, "pending")


async def test_what_is_not_allowed_or_malformed_changes_nothing(venue: Venue):
    async with serving(venue) as client:
        answers = [
            await client.deposit("1", who=None),
            await client.deposit("1", who=ALICE),
            await client.deposit("0"),
            await client.deposit("1.1234567"),
            await client.deposit("-1"),
            await client.deposit("4000000000001"),
            await client.ask("POST", "/v1/deposits", ADMIN, json={"account": "a", "asset": CNY, "amount": "1"}),
            await client.ask("GET", "/v1/statements", ALICE, params={"cursor": "x"}),
            await client.ask("GET", "/v1/statements", ALICE, params={"limit": "0"}),
            await client.ask("GET", "/v1/ledger/balances", ALICE),
        ]
        assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [
            (401, "unsigned_request"),
            (403, "scope_missing"),
            *[(400, "malformed_request")] * 7,
            (403, "scope_missing"),
        ]
        assert await venue.commands() == []


async def test_a_restarted_ledger_posts_what_it_missed_once_though_events_stand_twice_in_the_log(venue: Venue):
    venue.log.credit("alice", 100)
    venue.log.bid("alice", 60)
    await venue.write()
    async with serving(venue) as client:
        assert await client.balances(2) == truth(venue)
    venue.log.credit("bob", 7, "t2")
    await produce(venue.settings.kafka, EVENTS.name, *(event.canonical() for event in venue.log.events[1:]))
    venue.log.bid("bob", 3)
    venue.written = 3
    await venue.write()
    async with serving(venue) as client:
        assert await client.balances(4) == truth(venue)
        audit = (await client.ask("GET", "/v1/ledger/audit", ADMIN)).json()
    assert audit == {"seq": 4, "transfers": 4, "differing_accounts": [], "mismatch": None}


async def test_a_rebuilt_ledger_has_the_same_books(venue: Venue):
    venue.log.credit("alice", 1_000)
    venue.log.bid("alice", 600)
    venue.log.settle("alice", "site", 28_000, moves=[("alice", 10, -600), ("site", 590, 0)])
    seq = await venue.write()
    answers = []
    for rebuild in (False, True):
        async with serving(venue, rebuild) as client:
            totals = (await client.ask("GET", TRIAL_BALANCE)).json()
            statement = (await client.ask("GET", "/v1/statements", ALICE)).json()
            answers.append((await client.balances(seq), totals, statement))
    assert answers[0] == answers[1]
    assert answers[0][0] == truth(venue)
    assert answers[0][1]["balanced"] and [row["asset"] for row in answers[0][1]["assets"]] == [CNY, "GPU.MS"]


async def test_what_a_correction_left_owed_is_shown_to_both_parties_until_it_is_paid(venue: Venue):
    venue.log.credit("guarantee", 30)
    venue.log.correct("alice", "site", drawn=30, owed=70)
    venue.log.credit("site", 50, "t2")
    venue.log.pay_claim("alice", "site", 50, left=20)
    await venue.write()
    answers = []
    for rebuild in (False, True):
        async with serving(venue, rebuild) as client:
            answers.append((await client.ask("GET", "/v1/claims", ALICE)).json())
            lines = (await client.ask("GET", "/v1/statements", ALICE)).json()["lines"]
            page = (await client.ask("GET", "/v1/claims", ALICE, params={"limit": 1})).json()
            assert (await client.ask("GET", "/v1/claims", ADMIN)).json() == {"items": [], "cursor": None}
            assert (await client.ask("GET", "/v1/claims")).json()["code"] == "unsigned_request"
    owed, covered = answers[0]["items"]
    assert answers[0] == answers[1]
    assert (page["items"], page["cursor"]) == ([owed], 3)
    told = ("kind", "claim_id", "position_id", "revision", "role", "debtor", "amount", "owed", "state")
    assert [owed[name] for name in told] == ["claim", 1, 1, 2, "creditor", "site", "0.00007", "0.00002", "open"]
    assert [covered[name] for name in told] == [
        "guarantee", None, 1, 2, "creditor", "site", "0.00003", "0.00", "covered"
    ]  # fmt: skip
    shown = [(line["cause"], line["reference"], line["side"], line["amount"]) for line in lines]
    assert shown == [
        ("claim_paid", "claim:1", "credit", "0.00005"),
        ("guarantee_drawn", "position:1", "credit", "0.00003"),
    ]


async def test_a_killed_database_costs_no_posting_and_posts_none_twice(venue: Venue, own_postgres: Running):
    venue.settings = venue.settings.model_copy(update={"database_url": own_postgres.address})
    async with serving(venue) as client:
        for round_ in range(2):
            venue.log.credit("alice", 100, f"t{round_}")
            await venue.write()
            await asyncio.to_thread(own_postgres.kill)
            venue.log.bid("alice", 60)
            await venue.write()
            assert (await client.ask("GET", TRIAL_BALANCE)).json()["code"] == "unavailable"
            await asyncio.to_thread(own_postgres.start)
            await client.until(lambda answer, seq=venue.written: answer.json().get("seq") == seq, TRIAL_BALANCE)
        assert await client.balances(4) == truth(venue)
        assert (await client.ask("GET", "/v1/ledger/audit", ADMIN)).json()["transfers"] == 4


async def test_it_answers_what_it_waits_for_until_postgresql_comes(venue: Venue, own_postgres: Running):
    venue.settings = venue.settings.model_copy(update={"database_url": own_postgres.address})
    await asyncio.to_thread(own_postgres.kill)
    task = asyncio.create_task(run(venue))
    client = Client(f"http://127.0.0.1:{venue.settings.ledger_port}")
    waiting = await client.until(lambda answer: answer.status_code == 503, "/readyz")
    assert waiting.json()["waiting_for"][0] == "PostgreSQL"
    await asyncio.to_thread(own_postgres.start)
    await client.until(lambda answer: answer.status_code == 200, "/readyz")
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_a_difference_halts_the_market_once_and_stops_posting_for_good(venue: Venue):
    venue.log.credit("alice", 100)
    await venue.write()
    async with serving(venue) as client:
        assert await client.balances(1) == truth(venue)
        venue.log.balances["alice", CNY] = (99, 0)
        venue.log.bid("alice", 60)
        await venue.write()
        halt = SetProductState(product=None, state="HALTED", reason="ledger_mismatch")
        assert await venue.commanded(1) == [halt]
        stopped = await client.until(lambda answer: answer.status_code == 503, "/readyz")
        assert stopped.json()["waiting_for"] == ["agreement with the engine"]
    assert await unready(venue) == ["agreement with the engine"]
    assert await venue.commands() == [halt]


async def unready(venue: Venue) -> list[str]:
    """Starts a ledger that must not become ready; returns what it waits for in the end."""
    task = asyncio.create_task(run(venue))
    client = Client(f"http://127.0.0.1:{venue.settings.ledger_port}")
    try:
        return (await client.until(lambda answer: "agreement" in answer.text, "/readyz")).json()["waiting_for"][-1:]
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def run(venue: Venue, rebuild: bool = False) -> None:
    async with asyncio.TaskGroup() as tasks:
        await LedgerService(venue.settings).run(tasks, rebuild)


async def test_a_request_replayed_after_a_restart_under_another_idempotency_key_pays_nothing(venue: Venue):
    changed = {"ledger_answer_wait_s": 0.2, "signature_window_ms": 60_000}
    venue.settings = venue.settings.model_copy(update=changed)
    url = f"http://127.0.0.1:{venue.settings.ledger_port}"
    body, nonce = b'{"account":"alice","asset":"CNY","amount":"777.00"}', "0123456789abcdef"
    async with httpx.AsyncClient(base_url=url) as anyone:
        async with serving(venue):
            ts_ms = time.time_ns() // 1_000_000 + 950  # a caller whose clock is ahead
            text = signing.request_text("POST", "/v1/deposits", "", body, ts_ms, nonce, "admin", "real-1")
            headers = {
                signing.KEY_HEADER: "admin",
                signing.TIMESTAMP_HEADER: str(ts_ms),
                signing.NONCE_HEADER: nonce,
                signing.SIGNATURE_HEADER: ADMIN.private_key.sign(text).hex(),
                "Content-Type": "application/json",
            }
            first = await anyone.post("/v1/deposits", content=body, headers=headers | {"Idempotency-Key": "real-1"})
        async with serving(venue):
            again = [
                await anyone.post("/v1/deposits", content=body, headers=headers | {"Idempotency-Key": key})
                for key in ("real-1", "replayed-2")
            ]
    assert first.status_code == 202
    assert [answer.json()["code"] for answer in again] == ["timestamp_outside_window"] * 2
    assert len(await venue.commands()) == 1


@pytest.mark.parametrize(
    ("account", "asset", "problem"),
    [
        ("nosuch-account", CNY, (404, "not_found")),
        ("alice", "GPU.MS", (422, "unknown_currency")),
        ("alice", "ABC", (422, "unknown_currency")),
        ("alice", "V.CITY", (422, "unknown_currency")),
    ],
)
async def test_f18_money_comes_in_for_accounts_that_exist_and_in_currencies_that_exist(
    venue: Venue, account: str, asset: str, problem: tuple[int, str]
):
    venue.settings = venue.settings.model_copy(update={"ledger_account_wait_s": 0.2})
    async with serving(venue) as client:
        form = {"account": account, "asset": asset, "amount": "5"}
        answer = await client.ask("POST", "/v1/deposits", ADMIN, json=form, headers={"Idempotency-Key": "k"})
        assert (answer.status_code, answer.json()["code"]) == problem
        assert await venue.commands() == []


async def test_a20_a_deposit_in_flight_when_the_ledger_stops_is_pending_and_never_an_error(venue: Venue):
    venue.settings = venue.settings.model_copy(update={"ledger_answer_wait_s": 30.0})
    async with serving(venue) as client:
        asking = asyncio.create_task(client.deposit("1"))
        await venue.commanded(1)
    answer = await asking
    assert (answer.status_code, answer.json()["state"]) == (202, "pending")


async def test_nobody_mints_money_by_writing_keys_to_the_topic(venue: Venue):
    thief, mine = new_credentials("minted"), new_credentials("admin")
    records = [
        new_key(thief, "venue-admin", thief, "admin").model_copy(update={"proof": None}),
        new_key(thief, "venue-admin", thief, "admin"),
        new_key(ALICE, "venue-admin", thief, "admin"),
        new_key(mine, "venue-admin", mine, "admin"),  # another public key under the administrator's id
    ]
    await produce(venue.settings.kafka, KEYS_EVENTS.name, *[each.canonical() for each in records])
    async with serving(venue) as client:
        answers = [await client.deposit("1000000", who=who) for who in (thief, mine)]
    assert [answer.json()["code"] for answer in answers] == ["unknown_key", "bad_request_signature"]
    assert await venue.commands() == []
