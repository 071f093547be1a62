"""An outbox that is lost or restored from an older backup, beside a real engine: it goes on behind the log's last
number, and nothing is lost or applied twice.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from infra.embedded import Running
from schemas.events import EVENT
from schemas.venue import Credit
from services.kit import store
from services.kit.outbox import Outbox
from services.kit.settings import Settings
from services.matching.app import MatchingService
from services.matching.settings import MatchingSettings
from tests.fixtures.command_log import CommandLog
from tests.fixtures.matching_service import running, wait_until

BACKED_UP = ("outbox", "outbox_mark", "request")


@dataclass
class Ledger:
    """A service's database with requests that name their batches, and its outbox, beside a running engine."""

    settings: Settings
    pool: store.Pool
    matching: MatchingService
    log: CommandLog
    saved: dict[str, list] = field(default_factory=dict)

    async def credit(self, transfer_id: str) -> int:
        credit = Credit(transfer_id=transfer_id, account="alice", asset="CNY", amount_micros=1_000)
        async with self.pool.acquire() as connection, connection.transaction():
            number = await store.enqueue(connection, credit)
            await connection.execute("insert into request values ($1, $2)", number, transfer_id)
        return number

    async def relay(self, recover: bool = True) -> None:
        """Runs the outbox as a started service does, until all is sent and decided."""
        outbox = Outbox(self.settings, self.pool, "ledger", poll_s=0.01, numbered="request")
        if recover:
            await outbox.recover()
        relay = asyncio.create_task(outbox.run())
        async with asyncio.timeout(20):
            while await store.unsent_batches(self.pool, 1):
                await asyncio.sleep(0.02)
        relay.cancel()
        await asyncio.gather(relay, return_exceptions=True)
        end = len(await self.log.commands())
        await wait_until(lambda: self.matching.engine.next_offset >= end and not self.matching.writer.waiting)

    async def credited(self) -> list[str]:
        """The transfers that the engine has carried out, in order."""
        events = [EVENT.validate_json(raw) for raw in await self.log.events()]
        return [event.transfer_id for event in events if event.type == "credited"]

    async def refused(self) -> list[str]:
        events = [EVENT.validate_json(raw) for raw in await self.log.events()]
        return [event.code for event in events if event.type in ("record_rejected", "command_rejected")]

    async def back_up(self) -> None:
        self.saved = {table: await self.pool.fetch(f"select * from {table}") for table in BACKED_UP}

    async def restore(self) -> None:
        for table, rows in self.saved.items():
            await self.pool.execute(f"delete from {table}")
            await self.pool.copy_records_to_table(table, records=[tuple(row) for row in rows])

    async def requests(self) -> dict[str, int]:
        return {row["transfer_id"]: row["number"] for row in await self.pool.fetch("select * from request")}


@pytest.fixture
async def ledger(own_kafka: Running, fresh_database: str, tmp_path: Path) -> AsyncIterator[Ledger]:
    log = CommandLog(own_kafka.address, tmp_path / "keys")
    await log.begin()
    given = {"kafka": own_kafka.address, "database_url": fresh_database, "data": tmp_path}
    settings = Settings(**given)
    pool = await store.open_pool(settings, "ledger_test")
    await pool.execute("create table request (number bigint not null unique, transfer_id text)")
    async with running(MatchingSettings(**given)) as matching:
        yield Ledger(settings, pool, matching, log)
    await pool.close()


async def test_a_lost_outbox_goes_on_behind_the_last_number_that_the_engine_took(ledger: Ledger):
    for transfer_id in ("t1", "t2", "t3"):
        await ledger.credit(transfer_id)
    await ledger.relay()
    await ledger.pool.execute("drop table outbox")
    await ledger.relay()
    assert await ledger.credit("t4") == 4
    await ledger.relay()
    assert (await ledger.credited(), await ledger.refused()) == (["t1", "t2", "t3", "t4"], [])


async def test_what_was_answered_duplicate_for_its_number_is_sent_again_under_the_next_one(ledger: Ledger):
    await ledger.credit("t1")
    await ledger.relay()
    await ledger.pool.execute("delete from outbox")
    await ledger.pool.execute("delete from request")
    await ledger.credit("t2")
    await ledger.relay(recover=False)
    assert (await ledger.credited(), await ledger.refused()) == (["t1"], ["duplicate"])
    await ledger.pool.execute("delete from outbox_mark")
    await ledger.relay()
    assert (await ledger.credited(), await ledger.requests()) == (["t1", "t2"], {"t2": 2})


async def test_an_older_backup_reissues_once_what_the_engine_never_applied(ledger: Ledger):
    await ledger.credit("t1")
    await ledger.relay()
    await ledger.back_up()
    for transfer_id in ("t2", "t3"):
        await ledger.credit(transfer_id)
    await ledger.relay()
    await ledger.restore()
    assert [await ledger.credit(transfer_id) for transfer_id in ("t4", "t5")] == [2, 3]
    await ledger.relay()
    assert await ledger.requests() == {"t1": 1, "t4": 4, "t5": 5}
    await ledger.relay()
    assert (await ledger.credited(), await ledger.refused()) == (["t1", "t2", "t3", "t4", "t5"], [])


async def test_what_is_decided_anew_while_the_past_is_read_again_is_the_batch_of_the_log(ledger: Ledger):
    for transfer_id in ("t1", "t2"):
        await ledger.credit(transfer_id)
    await ledger.relay()
    for table in ("outbox", "request"):
        await ledger.pool.execute(f"delete from {table}")
    await ledger.relay()
    async with ledger.pool.acquire() as connection:
        start = await store.read_position(connection, "ledger", 0)
        assert [await ledger.credit(transfer_id) for transfer_id in ("t2", "t3")] == [2, 3]
        end = len(await ledger.log.events())
        await store.advance(connection, "ledger", 0, start, store.Position(end, end, None))
    await ledger.pool.execute("delete from request where number = 2")
    assert await ledger.credit("t1") == 4
    await ledger.relay()
    assert await ledger.credited() == ["t1", "t2", "t3"]
    assert await ledger.refused() == ["transfer_exists"]


async def test_a_log_that_lost_its_end_gets_it_again(ledger: Ledger):
    await ledger.credit("t1")
    await ledger.relay()
    await ledger.credit("t2")
    await ledger.pool.execute("update outbox set sent = true")
    await ledger.pool.execute("update outbox_mark set number = 2, log_offset = log_offset + 1000")
    await ledger.relay()
    assert await ledger.credited() == ["t1", "t2"]


async def test_a_start_with_a_whole_outbox_reads_only_the_logs_tail(ledger: Ledger):
    await ledger.credit("t1")
    await ledger.relay()
    offsets = [n for n, raw in enumerate(await ledger.log.commands()) if b'"source":"ledger"' in raw]
    assert await store.log_known_until(ledger.pool) > offsets[-1]
