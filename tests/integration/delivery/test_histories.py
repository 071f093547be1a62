"""GPUs' histories, gathered in memory and written now and then: nothing is lost or counted twice, whatever the order.

Tier: default. Some seconds.
"""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import asyncpg
import pytest

from schemas.gpu_health import DEGRADING_XIDS, FATAL_XIDS
from schemas.nodes import NodeReported, message_hash
from services.delivery.effects import Effects
from services.delivery.histories import Histories
from services.delivery.passports import XIDS_MAX
from services.delivery.report_records import VerifiedReport
from services.delivery.settings import Settings
from services.delivery.store import open_pool
from tests.fixtures.delivery import TestNode, gpu_uuid, reading, reported

GPU, OTHERS = gpu_uuid(1), gpu_uuid(9)
READINGS = (
    {"temperature_c": 61, "xid": (13,)},
    {"ecc_corrected": 7, "xid": (79, 13)},
    {"ecc_corrected": 3, "throttle": 0x40},
    {"present": False, "healthy": False},
    {"temperature_c": 84, "ecc_corrected": 9, "remapped_correctable": 1, "xid": (94,)},
    dict.fromkeys(("temperature_c", "ecc_corrected", "ecc_uncorrected")),
)
WHOLE = {
    **{"uuid": GPU, "first_ms": 1_000, "last_ms": 6_000, "reports": 5, "reported_ms": 50, "throttled_ms": 10},
    **{"temperature_c_max": 84, "ecc_corrected": 9, "ecc_uncorrected": 0, "remapped_correctable": 1},
    **{"remapped_uncorrectable": 0, "remap_failed": False, "xids": "13,79,94", "counters_went_back": True},
}


class Books:
    """The tables, and the one writer on them."""

    def __init__(self, settings: Settings, pool: asyncpg.Pool):
        self.settings, self.effects = settings, Effects(pool, ())

    def histories(self) -> Histories:
        """What a new process has: nothing in memory."""
        return Histories(self.settings)

    async def enrol(self, node: TestNode) -> None:
        async with self.effects.transaction() as store:
            await store.run(
                "insert_node",
                *(node.node_id, "ops", "n", "CNE", node.grade, node.public_key, True, node.boot_id, 0),
            )
            for index, uuid in enumerate(node.gpus):
                gpu = node.inventory(uuid, index)
                row = (uuid, node.node_id, gpu.serial, gpu.canonical().decode(), node.boot_id, 0)
                await store.run("put_gpu", *row)

    async def meter(self, histories: Histories, node: TestNode, records: list[NodeReported]) -> None:
        """Does as the consumer does: the table has the reports, and memory what they have shown."""
        async with self.effects.transaction() as store:
            made = [(VerifiedReport(each, message_hash(each.report)), each.canonical()) for each in records]
            await store.put_reports(made)
            known = (await store.nodes_for_records([node.node_id]))[node.node_id]
            known.metered_seq = records[-1].report.seq
            await store.save_metered([known])
        for each in records:
            histories.add(each, set(node.gpus))

    async def write(self, histories: Histories, *nodes: TestNode) -> None:
        async with self.effects.transaction() as store:
            await histories.write(store, [node.node_id for node in nodes])

    async def written(self) -> list[dict]:
        async with self.effects.transaction() as store:
            rows = await store.connection.fetch("select * from gpu_history order by uuid")
        return [dict(row) for row in rows]


@pytest.fixture
async def books(fresh_database: str, tmp_path: Path) -> AsyncIterator[Books]:
    settings = Settings(database_url=fresh_database, data=tmp_path)
    pool = await open_pool(settings)
    yield Books(settings, pool)
    await pool.close()


def records_of(node: TestNode) -> list[NodeReported]:
    """The node's reports with READINGS of its only GPU; one also speaks of a GPU that is not its own."""
    made = []
    for number, changes in enumerate(READINGS, start=1):
        gpus = (reading(GPU, **changes), reading(OTHERS, ecc_uncorrected=99))[: 1 + (number == 2)]
        report = node.report("e" * 64, 10 * number, 10 * (number + 1), gpus=gpus)
        made.append(reported(report, 1_000 * number, 0))
    return made


@pytest.mark.parametrize("cuts", [(), (1,), (2,), (3,), (1, 2, 3, 4, 5)])
async def test_however_readings_are_cut_into_writes_the_history_is_the_same(books: Books, cuts):
    node, histories = TestNode(gpus=(GPU,)), books.histories()
    await books.enrol(node)
    for number, record in enumerate(records_of(node)):
        if number in cuts:
            await books.write(histories, node)
        await books.meter(histories, node, [record])
    await books.write(histories, node)
    await books.write(histories, node)
    assert await books.written() == [WHOLE]


async def test_what_a_crash_took_from_memory_is_gathered_again_from_the_reports(books: Books):
    node, first, second = TestNode(gpus=(GPU,)), books.histories(), books.histories()
    await books.enrol(node)
    records = records_of(node)
    await books.meter(first, node, records[:2])
    await books.write(first, node)
    await books.meter(first, node, records[2:4])
    await second.catch_up(books.effects)
    await books.meter(second, node, records[4:])
    await books.write(second, node)
    await books.write(first, node)  # a process that should have ended writes nothing any more
    assert await books.written() == [WHOLE]


async def test_what_a_transaction_meters_that_also_writes_is_gathered_behind_it(books: Books):
    node, histories = TestNode(gpus=(GPU,)), books.histories()
    await books.enrol(node)
    records = records_of(node)
    await books.meter(histories, node, records[:3])
    async with books.effects.transaction() as store:
        gathered = [lambda each=each: histories.add(each, {GPU}) for each in records[3:]]
        store.after_commit.extend(gathered)
        await histories.write(store, [node.node_id])
    await books.write(histories, node)
    assert await books.written() == [WHOLE]


async def test_a_write_that_fails_loses_nothing(books: Books):
    node, histories = TestNode(gpus=(GPU,)), books.histories()
    await books.enrol(node)
    await books.meter(histories, node, records_of(node))
    with pytest.raises(ConnectionResetError):
        async with books.effects.transaction() as store:
            await histories.write(store, [node.node_id])
            raise ConnectionResetError
    await books.write(histories, node)
    assert await books.written() == [WHOLE]


async def test_a_gpu_that_moved_has_one_history_of_both_its_nodes(books: Books):
    before, after, histories = TestNode(gpus=(GPU,)), TestNode(seed=2, gpus=(GPU,)), books.histories()
    for node in (before, after):
        await books.enrol(node)
    moves: list[Callable] = [before.report, after.report]
    for number, (node, make) in enumerate(zip((before, after), moves, strict=True)):
        report = make("e" * 64, 0, 10, gpus=(reading(GPU, ecc_corrected=7 - number),))
        await books.meter(histories, node, [reported(report, 1_000 * (number + 1), 0)])
    await books.write(histories, after)
    (history,) = await books.written()
    facts = ("first_ms", "last_ms", "reports", "ecc_corrected", "counters_went_back")
    assert tuple(history[name] for name in facts) == (1_000, 2_000, 2, 7, True)


async def test_of_too_many_xids_the_harmless_ones_go_also_over_many_writes(books: Books):
    node, histories = TestNode(gpus=(GPU,)), books.histories()
    await books.enrol(node)
    grave, noise = (*FATAL_XIDS, *DEGRADING_XIDS), tuple(range(200, 200 + XIDS_MAX))
    for number, xids in enumerate((grave[::2], noise, grave[1::2], noise)):
        report = node.report("e" * 64, 10 * number, 10 * (number + 1), gpus=(reading(GPU, xid=xids),))
        await books.meter(histories, node, [reported(report, 1_000, 0)])
        await books.write(histories, node)
    (history,) = await books.written()
    kept = sorted([*grave, *noise[: XIDS_MAX - len(grave)]])
    assert history["xids"] == ",".join(map(str, kept))
