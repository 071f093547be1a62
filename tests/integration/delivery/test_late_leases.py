"""When a lease was due whose node was asked late, and whether a lost database changes that.

Tier: default, a few seconds: a database and the functions that write it, no process.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from schemas.ids import product_of
from schemas.nodes import ChallengeJudged, ChallengeVerdict, GpuVerdict, LeaseAnswered
from services.delivery.effects import Effects
from services.delivery.gate import open_gate
from services.delivery.handlers import take_records
from services.delivery.histories import Histories
from services.delivery.moving import put_gpu
from services.delivery.rebuilding import restore_record
from services.delivery.reports import first_chain
from services.delivery.settings import Settings
from services.delivery.store import Store, open_pool
from tests.fixtures.delivery import TestNode, gpu_uuid
from tests.integration.delivery.conftest import make_database

CONTRACT = "H100SXM80.CNE.F-26112213"
START_MS = 1_795_352_400_000
END_MS = START_MS + 3_600_000
NODE, LEASE = TestNode(gpus=(gpu_uuid(1),)), "lease-7"


class Books:
    """Delivery's tables with one node and one position on it."""

    def __init__(self, settings: Settings, pool):
        self.settings, self.effects = settings, Effects(pool, ())

    @classmethod
    async def open(cls, url: str, folder: Path) -> "Books":
        settings = Settings(database_url=url, data=folder)
        books = cls(settings, await open_pool(settings))
        async with books.effects.transaction() as store:
            request, chain = NODE.enrolment("token"), first_chain("boot", "n" * 64, 0)
            names = (request.label, request.hub, request.grade, request.public_key)
            await store.run("insert_node", NODE.node_id, "ops", *names, True, "boot", 0)
            await store.insert_chain(NODE.node_id, chain)
            for gpu in request.gpus:
                await put_gpu(store, NODE.node_id, gpu, "boot", 0)
            product, grade, hub = product_of(CONTRACT), "H100SXM80", "CNE"
            await store.run("put_product", product, grade, hub, "CNY", 3_600_000, 600_000, 86_400_000)
            sold = (7, CONTRACT, product, NODE.node_id, "alice", "ops", 1, None, START_MS, END_MS, 0)
            await store.run("insert_position", *sold)
        return books

    async def gate(self, at_ms: int) -> None:
        """Opens the gate at a moment."""
        async with self.effects.transaction() as store:
            await open_gate(store, self.settings, CONTRACT, at_ms)

    async def judged(self, at_ms: int) -> ChallengeJudged:
        """Concludes the gate's challenge, and returns its record."""
        async with self.effects.transaction() as store:
            (known,) = await store.challenges.open_everywhere()
            gpus = (GpuVerdict(gpu_uuid=gpu_uuid(1), passed=True, operations_per_s=1),)
            verdict = ChallengeVerdict(challenge_id=known.challenge_id, passed=True, judged_ms=at_ms, gpus=gpus)
            await store.challenges.set_judged(known.challenge_id, verdict)
        return ChallengeJudged(node_id=NODE.node_id, received_ms=at_ms, cause="gate", lease_id=LEASE, verdict=verdict)

    async def take(self, *records) -> None:
        """Takes records as they come from the topic."""
        await take_records(self.effects, self.settings, Histories(self.settings), records, {})

    async def times(self) -> tuple[int, int | None]:
        """Returns when the lease was due, and when the buyer got in."""
        store = Store(self.effects.pool)
        position, lease = await store.positions.find(7), await store.leases.find(LEASE)
        return position.offered_ms, lease.access_ms


@pytest.fixture
async def books(fresh_database: str, tmp_path: Path) -> AsyncIterator[Books]:
    books = await Books.open(fresh_database, tmp_path)
    yield books
    await books.effects.pool.close()


def answered(at_ms: int) -> LeaseAnswered:
    about = {"node_id": NODE.node_id, "received_ms": at_ms, "lease_id": LEASE, "action": "start", "ok": True}
    return LeaseAnswered(**about, endpoint="", detail="", host_key="")


@pytest.mark.parametrize(
    ("gate_ms", "judged_ms", "due_ms"),
    [
        (START_MS - 600_000, START_MS - 590_000, START_MS - 600_000),  # as usual: due at the start
        (START_MS + 20_000, START_MS + 35_000, START_MS + 35_000),  # the venue was late with the gate
        (START_MS - 1_000, START_MS + 9_000, START_MS + 9_000),
    ],
)
async def test_a_lease_is_due_when_its_node_has_proven_what_it_was_asked(books: Books, gate_ms, judged_ms, due_ms):
    await books.gate(gate_ms)
    await books.take(await books.judged(judged_ms))
    await books.take(answered(judged_ms + 4_000))
    assert await books.times() == (due_ms, judged_ms + 4_000)


@pytest.mark.parametrize(
    ("judged_ms", "answered_ms", "due_ms"),
    [
        (START_MS - 590_000, START_MS + 3_000, START_MS),
        (START_MS + 35_000, START_MS + 39_000, START_MS + 35_000),
    ],
)
async def test_a_late_lease_was_as_late_after_the_database_was_lost(
    books: Books, database_url: str, tmp_path: Path, judged_ms, answered_ms, due_ms
):
    await books.gate(min(judged_ms, START_MS))
    records = (await books.judged(judged_ms), answered(answered_ms))
    empty = await Books.open(await make_database(database_url), tmp_path)
    async with empty.effects.transaction() as store:
        for record in records:
            await restore_record(store, record)
    await empty.take(*records)
    await empty.gate(END_MS - 1_000)  # the event log comes after the reports
    assert await empty.times() == (due_ms, answered_ms)
    await empty.effects.pool.close()
