"""Reports that wait for a venue that is away for long: all are there, few are in memory."""

import os
import tracemalloc

import pytest

from agents.node.identity import Identity
from agents.node.reports import JOURNAL_BYTES_MAX, ReportChain
from agents.node.state import StateFolder
from agents.node.waiting import REPORTS_IN_MEMORY, WaitingReports
from schemas.nodes import GENESIS_HASH, message_hash
from tests.fixtures.delivery import TestNode, gpu_uuid, reading

MANY = 10 * REPORTS_IN_MEMORY
NONCES = ["1" * 64, "2" * 64]
FACTS = {
    **{"agent": "node-1", "boot_id": "boot-1", "mono_start_ms": 0, "mono_end_ms": 1, "wall_ms": 0, "lease_ids": ()},
    **{"agent_version": "0.1.0", "driver_version": "570.86.15", "library_sha256": "a" * 64, "nvml_simulated": True},
    **{"gpus": tuple(reading(gpu_uuid(number)) for number in range(8))},
}


def made(count: int) -> list:
    node = TestNode()
    return [node.report(NONCES[0], 10 * number, 10 * number + 10, queued=True) for number in range(count)]


@pytest.mark.parametrize("dropped", [0, 1, REPORTS_IN_MEMORY, REPORTS_IN_MEMORY + 1, MANY - 1, MANY])
def test_many_reports_read_as_a_list_of_them_and_few_are_in_memory(tmp_path, dropped):
    reports = made(MANY)
    waiting = WaitingReports(tmp_path, reports)
    waiting.drop_through(dropped)
    left = reports[dropped:]
    assert (list(waiting), len(waiting), bool(waiting), waiting) == (left, len(left), bool(left), left)
    assert (waiting[:8], waiting[3:5], [waiting[-1]] if left else []) == (left[:8], left[3:5], left[-1:])
    assert waiting.in_memory == max(0, REPORTS_IN_MEMORY - dropped)
    waiting.append(more := made(MANY + 1)[-1])
    assert waiting == [*left, more]


def test_what_the_disk_does_not_take_is_kept_all_the_same(tmp_path):
    reports = made(MANY)
    waiting = WaitingReports(tmp_path / "missing", reports)
    assert (waiting, waiting.in_memory) == (reports, MANY)


def test_its_file_leaves_nothing_behind(tmp_path):
    waiting = WaitingReports(tmp_path, made(MANY))
    assert os.listdir(tmp_path) == []
    waiting.close()


@pytest.fixture
def long_chain(tmp_path) -> ReportChain:
    """A chain of an agent that was cut off for long."""
    state = StateFolder(tmp_path / "state", durable=False)
    chain = ReportChain(Identity(TestNode().key), state)
    chain.renew_nonce(NONCES[0])
    for _ in range(MANY):
        chain.append(**FACTS)
    return chain


def again(chain: ReportChain) -> ReportChain:
    """The chain as the agent finds it at its next start."""
    return ReportChain(Identity(TestNode().key), chain._state)


def end_of(chain: ReportChain) -> tuple:
    return chain.seq, chain.hash, chain.nonce, chain.nonce_used


def test_an_agent_that_was_cut_off_for_long_holds_few_reports_in_memory_also_after_a_restart(long_chain):
    after = again(long_chain)
    assert (after.waiting, end_of(after)) == (long_chain.waiting, end_of(long_chain))
    assert [chain.waiting.in_memory for chain in (long_chain, after)] == [REPORTS_IN_MEMORY] * 2


def test_signing_all_of_them_anew_keeps_few_in_memory_and_their_places(long_chain):
    tracemalloc.start()
    long_chain.queue_refused(NONCES[1])
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    previous = GENESIS_HASH
    for seq, report in enumerate(long_chain.waiting, start=1):
        assert (report.seq, report.prev_hash, report.queued) == (seq, previous, True)
        previous = message_hash(report)
    assert (seq, end_of(long_chain)) == (MANY, (MANY, previous, NONCES[1], False))
    after = again(long_chain)
    assert (after.waiting, end_of(after)) == (long_chain.waiting, end_of(long_chain))
    assert peak_bytes < 2 * REPORTS_IN_MEMORY * 40_000  # a report of eight GPUs is some 20 kB of objects


def test_sending_all_of_them_writes_the_journal_a_few_times_not_once_a_report(long_chain, monkeypatch):
    rewritten = []
    rewrite = long_chain._journal.rewrite
    monkeypatch.setattr(long_chain._journal, "rewrite", lambda lines: rewritten.append(rewrite(lines)))
    assert long_chain._journal.size_bytes > JOURNAL_BYTES_MAX
    while long_chain.waiting:
        long_chain.acknowledge(long_chain.waiting[0], NONCES[1])
    assert len(rewritten) < 4
    assert (again(long_chain).waiting, again(long_chain).seq) == ([], MANY)
