"""The ledger in PostgreSQL: one transaction a batch, and everything that is read from the books."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg

from schemas.venue import SetProductState, VenueCommand
from schemas.vouchers import DefundProgramme, FundProgramme, IssueVoucher, asset_of
from services.kit import store as kit
from services.ledger.domain import Balance, Delivered, LedgerMismatch, Plan, Transfer
from services.ledger.settings import LedgerSettings

PACKAGE = "services.ledger"
SCHEMA = "ledger"
CONSUMER = "ledger"
QUERIES = kit.load_queries(PACKAGE)


class OtherRequest(Exception):
    """The idempotency key was used for another request."""


@dataclass(frozen=True)
class Request:
    """A deposit or withdrawal, and what became of it."""

    transfer_id: str
    kind: str
    account: str
    asset: str
    amount: int
    state: str
    code: str | None
    seq: int | None


class LedgerStore:
    """All reading and writing of the ledger's tables. Every method raises DatabaseAway while PostgreSQL is away."""

    def __init__(self, settings: LedgerSettings, schema: str = SCHEMA):
        self._settings, self._schema, self._shard = settings, schema, settings.shard
        self._pool: kit.Pool | None = None

    async def open(self) -> kit.Pool:
        """Waits for PostgreSQL, migrates, connects; nothing else works before. Returns the pool, for the outbox."""
        self._pool = await kit.open_pool(self._settings, self._schema, PACKAGE)
        return self._pool

    # -- posting -------------------------------------------------------------------------------------------------------

    async def position(self) -> kit.Position:
        """Returns where the ledger stands in the event log."""
        async with self._acquire() as connection:
            return await kit.read_position(connection, CONSUMER, self._shard)

    async def delivered(self, position_ids: list[int]) -> dict[int, Delivered]:
        """Returns what these positions were last settled on."""
        if not position_ids:
            return {}
        async with self._acquire() as connection:
            rows = await connection.fetch(QUERIES.delivered, position_ids)
        return {row[0]: Delivered(row[1], row[2]) for row in rows}

    async def post(self, plan: Plan, old: kit.Position, new: kit.Position) -> None:
        """Writes one batch and moves the cursor, in one transaction.

        Raises LedgerMismatch where an account would turn negative or a row cannot be written, Fenced where another
        process posts.
        """
        try:
            async with self._acquire() as connection, connection.transaction():
                # The cursor comes first: its row is what two writers would meet at.
                await kit.advance(connection, CONSUMER, self._shard, old, new)
                if plan.transfers:
                    await connection.execute(QUERIES.post_transfers, self._shard, *_columns(plan.transfers))
                if plan.delivered:
                    await connection.execute(QUERIES.set_delivered, *_transposed(_delivered_rows(plan)))
                if plan.claims.made:
                    await connection.execute(QUERIES.add_claims, *_transposed(plan.claims.made))
                if plan.claims.paid:
                    await connection.execute(QUERIES.pay_claims, *_transposed(plan.claims.paid.values()))
                if plan.outcomes:
                    await connection.execute(QUERIES.close_requests, *_transposed(plan.outcomes))
        except (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError) as error:
            raise LedgerMismatch(new.seq, str(error)) from error

    async def halt(self, mismatch: LedgerMismatch) -> bool:
        """Notes the difference and sends the halt of all products, once; says whether this call did."""
        async with self._acquire() as connection, connection.transaction():
            noted = await connection.fetchval(QUERIES.note_mismatch, self._shard, mismatch.seq, mismatch.detail)
            if noted is None:
                return False
            await kit.enqueue(connection, SetProductState(product=None, state="HALTED", reason="ledger_mismatch"))
            return True

    async def mismatch(self) -> LedgerMismatch | None:
        """Returns the difference that stopped the ledger, if there is one."""
        async with self._acquire() as connection:
            row = await connection.fetchrow(QUERIES.mismatch, self._shard)
        return LedgerMismatch(row["seq"], row["detail"]) if row else None

    async def forget_postings(self) -> None:
        """Drops everything that the events can bring back, so that they are read again from the first."""
        async with self._acquire() as connection, connection.transaction():
            await connection.execute(QUERIES.forget_postings)
            await connection.execute(QUERIES.forget_cursor, CONSUMER)

    # -- requests ------------------------------------------------------------------------------------------------------

    async def ask(self, caller: str, key: str, kind: str, command: VenueCommand) -> tuple[Request, bool]:
        """Records a deposit or withdrawal and sends its command; a repeat returns the first one and False.

        Raises OtherRequest where the key belongs to another request.
        """
        subject = subject_of(command)
        async with self._acquire() as connection, connection.transaction():
            await connection.execute(QUERIES.lock_request_key, caller, key)
            found = await self._request(connection, caller, key)
            if found:
                asked = (kind, *subject, command.amount_micros)
                if (found.kind, found.account, found.asset, found.amount) != asked:
                    raise OtherRequest(key)
                return found, False
            number = await kit.enqueue(connection, command)
            values = (command.transfer_id, caller, key, kind, *subject, command.amount_micros)
            await connection.execute(QUERIES.add_request, *values, number)
            return await self._request(connection, caller, key), True

    async def request(self, caller: str, key: str) -> Request | None:
        """Returns a caller's request by its idempotency key."""
        async with self._acquire() as connection:
            return await self._request(connection, caller, key)

    @staticmethod
    async def _request(connection: asyncpg.Connection, caller: str, key: str) -> Request | None:
        row = await connection.fetchrow(QUERIES.request_by_key, caller, key)
        return Request(**{name: row[name] for name in Request.__dataclass_fields__}) if row else None

    # -- reading -------------------------------------------------------------------------------------------------------

    async def balances(self, seq: int | None = None) -> tuple[int, dict[tuple[str, str], Balance]]:
        """Returns all balances of money, now or as they were after event `seq`, and the sequence that they hold at."""
        async with self._snapshot() as connection:
            stands_at = await connection.fetchval(QUERIES.seq, CONSUMER)
            if seq is None or seq >= stands_at:
                rows, seq = await connection.fetch(QUERIES.balances), stands_at
            else:
                rows = await connection.fetch(QUERIES.balances_at, self._shard, seq)
        return seq, {(row[0], row[1]): Balance(int(row[2] or 0), int(row[3] or 0)) for row in rows}

    async def trial_balance(self) -> tuple[int, list[asyncpg.Record], list[asyncpg.Record]]:
        """Returns the cursor's sequence, the totals per asset, and the balances per asset and bucket."""
        async with self._snapshot() as connection:
            seq = await connection.fetchval(QUERIES.seq, CONSUMER)
            totals = await connection.fetch(QUERIES.trial_balance)
            return seq, totals, await connection.fetch(QUERIES.bucket_totals)

    async def audit(self) -> tuple[int, int, list[str]]:
        """Adds all transfers up again: the sequence, their number, and the accounts that differ from their sum."""
        async with self._snapshot() as connection:
            seq = await connection.fetchval(QUERIES.seq, CONSUMER)
            count = await connection.fetchval(QUERIES.count)
            return seq, count, ["/".join(row) for row in await connection.fetch(QUERIES.unfolded)]

    async def statement(self, owner: str, asset: str | None, before: tuple[int, int, int], lines: int):
        """Returns an owner's lines, newest first, before (seq, leg, side); side 0 is a debit, 1 a credit."""
        async with self._acquire() as connection:
            return await connection.fetch(QUERIES.statement, owner, asset, *before, lines)

    async def claims(self, party: str, before: int, lines: int) -> list[asyncpg.Record]:
        """Returns what corrections left owed by a party or to it, newest first, before a sequence."""
        async with self._acquire() as connection:
            return await connection.fetch(QUERIES.claims, party, before, lines)

    @asynccontextmanager
    async def _acquire(self) -> AsyncIterator[asyncpg.Connection]:
        try:
            async with self._pool.acquire() as connection:
                yield connection
        except kit.AWAY as error:
            raise kit.DatabaseAway(str(error)) from error

    @asynccontextmanager
    async def _snapshot(self) -> AsyncIterator[asyncpg.Connection]:
        async with self._acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
            yield connection


def subject_of(command: VenueCommand) -> tuple[str, str]:
    """Returns whose money a transfer moves and in which asset; vouchers are an asset of their own."""
    if isinstance(command, FundProgramme | DefundProgramme):
        return command.issuer, asset_of(command.programme)
    return command.account, asset_of(command.programme) if isinstance(command, IssueVoucher) else command.asset


def _columns(transfers: list[Transfer]) -> list[list]:
    seqs, legs, ts, causes, references, debits, credits_, amounts = _transposed(transfers)
    debit_owners, assets, debit_buckets = _transposed(debits)
    credit_owners, _, credit_buckets = _transposed(credits_)
    accounts = (assets, debit_owners, debit_buckets, credit_owners, credit_buckets)
    return [seqs, legs, ts, causes, references, *accounts, amounts]


def _delivered_rows(plan: Plan) -> list[tuple[int, int, int]]:
    return [(position_id, *delivered) for position_id, delivered in plan.delivered.items()]


def _transposed(rows: Iterable[tuple]) -> list[list]:
    return [list(column) for column in zip(*rows, strict=True)]
