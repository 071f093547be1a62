"""Rules by which a report is taken, refused, or proves that a node has two histories."""

import pytest

from schemas.nodes import Report, message_hash
from services.delivery.reports import (
    Chain,
    NonceStale,
    ReportForked,
    ReportGap,
    ReportLimits,
    TimeInflated,
    WindowsOverlap,
    check_nonce,
    extend_chain,
    first_chain,
    give_nonce,
    place_report,
)
from tests.fixtures.delivery import TestNode

LIMITS = ReportLimits(interval_ms=10_000)
N0, N1, N2 = ("a" * 64, "b" * 64, "c" * 64)


def take(chain: Chain, report: Report, now_ms: int, next_nonce: str) -> Chain:
    """Takes a report as the edge does when it is next in the chain."""
    assert place_report(chain, report, message_hash(report), None, LIMITS) == "next"
    check_nonce(chain, report, now_ms, LIMITS)
    return give_nonce(extend_chain(chain, report, message_hash(report), now_ms, LIMITS), next_nonce, now_ms)


def test_a_live_report_moves_the_chain_and_uses_up_its_nonce():
    """Holds [D-22]"""
    node = TestNode()
    report = node.report(N0, 5_000, 15_000)
    chain = take(first_chain("boot-1", N0, 100_000), report, 110_050, N1)
    assert chain == Chain(
        seq=1,
        hash=message_hash(report),
        boot_id="boot-1",
        mono_end_ms=15_000,
        received_ms=110_050,
        nonce=N1,
        nonce_issued_ms=110_050,
        recent_nonces=(N0, N1),
        queued_nonce="",
        offset_min_ms=85_000,
    )
    with pytest.raises(NonceStale):
        check_nonce(chain, node.report(N0, 15_000, 25_000), 120_000, LIMITS)


def test_the_chains_head_again_is_a_duplicate_though_nothing_else_knows_it_and_another_head_is_a_fork():  # A1
    node, twin = TestNode(), TestNode()
    report, forked = node.report(N0, 5_000, 15_000), twin.report(N0, 5_000, 15_001)
    chain = take(first_chain("boot-1", N0, 100_000), report, 110_050, N1)
    assert place_report(chain, report, message_hash(report), None, LIMITS) == "duplicate"
    with pytest.raises(ReportForked):
        place_report(chain, forked, message_hash(forked), None, LIMITS)


def test_a_nonce_older_than_three_intervals_is_stale():
    node = TestNode()
    chain = first_chain("boot-1", N0, 100_000)
    check_nonce(chain, node.report(N0, 0, 10_000), 130_000, LIMITS)
    with pytest.raises(NonceStale):
        check_nonce(chain, node.report(N0, 0, 10_000), 130_001, LIMITS)


def test_the_same_report_again_is_a_duplicate_and_another_with_its_number_is_a_fork():
    """Holds [D-21]"""
    node, twin = TestNode(), TestNode()
    report, other = node.report(N0, 0, 10_000), twin.report(N0, 0, 10_001)
    chain = take(first_chain("boot-1", N0, 0), report, 10_000, N1)
    known = message_hash(report)
    assert place_report(chain, report, known, known, LIMITS) == "duplicate"
    with pytest.raises(ReportForked):
        place_report(chain, other, message_hash(other), known, LIMITS)


def test_a_report_that_follows_another_history_is_a_fork():
    node, twin = TestNode(), TestNode()
    chain = take(first_chain("boot-1", N0, 0), node.report(N0, 0, 10_000), 10_000, N1)
    twin.report(N0, 0, 9_999)
    follower = twin.report(N1, 9_999, 20_000)
    with pytest.raises(ReportForked):
        place_report(chain, follower, message_hash(follower), None, LIMITS)


def test_up_to_64_reports_may_wait_for_their_predecessor():
    node, chain = TestNode(), first_chain("boot-1", N0, 0)
    reports = [node.report(N0, n * 10, n * 10 + 10, queued=True) for n in range(66)]
    assert place_report(chain, reports[64], message_hash(reports[64]), None, LIMITS) == "early"
    with pytest.raises(ReportGap) as refused:
        place_report(chain, reports[65], message_hash(reports[65]), None, LIMITS)
    assert refused.value.members == {"expected_seq": 1}


def test_reports_queued_while_offline_repeat_the_last_nonce_however_many_they_are():
    node = TestNode()
    chain = take(first_chain("boot-1", N0, 0), node.report(N0, 0, 10_000), 10_000, N1)
    for number in range(40):
        start_ms = 10_000 * (number + 1)
        report = node.report(N1, start_ms, start_ms + 10_000, queued=True)
        chain = take(chain, report, 900_000 + number, f"{number:064x}")
    assert (chain.seq, chain.queued_nonce) == (41, N1)
    live = node.report(chain.nonce, 410_000, 420_000)
    assert take(chain, live, 900_050, N2).seq == 42


def test_a_queued_report_with_a_nonce_its_node_never_had_is_refused():
    with pytest.raises(NonceStale):
        check_nonce(first_chain("boot-1", N0, 0), TestNode().report(N2, 0, 10, queued=True), 10, LIMITS)


def test_a_refused_nonce_may_be_repeated_by_the_queued_report_that_follows_however_often_it_was_refused():
    chain = first_chain("boot-1", N0, 0)
    for number in range(40):
        chain = give_nonce(chain, f"{number:064x}", 60_000 + number, kept=N0)
    check_nonce(chain, TestNode().report(N0, 0, 10_000, queued=True), 61_000, LIMITS)


@pytest.mark.parametrize(("start_ms", "end_ms"), [(9_999, 20_000), (12_000, 11_999)])
def test_windows_follow_each_other_and_never_overlap(start_ms, end_ms):
    """Holds [D-23]"""
    node = TestNode()
    chain = take(first_chain("boot-1", N0, 0), node.report(N0, 0, 10_000), 10_000, N1)
    with pytest.raises(WindowsOverlap):
        take(chain, node.report(N1, start_ms, end_ms), 20_000, N2)


def test_after_a_reboot_the_monotonic_clock_starts_anew():
    node = TestNode()
    chain = take(first_chain("boot-1", N0, 0), node.report(N0, 500_000, 510_000), 10_000, N1)
    node.boot_id = "boot-2"
    after = take(chain, node.report(N1, 300, 9_000), 40_000, N2)
    assert (after.boot_id, after.mono_end_ms, after.offset_min_ms) == ("boot-2", 9_000, 1_000)


def test_a_node_that_claims_twice_the_time_is_refused_within_a_few_reports():
    node, nonce = TestNode(), N0
    chain, taken = first_chain("boot-1", nonce, 0), 0
    with pytest.raises(TimeInflated):
        for number in range(1, 20):
            now_ms = number * 10_000
            report = node.report(nonce, (number - 1) * 20_000, number * 20_000)
            nonce = f"{number:064x}"
            chain = take(chain, report, now_ms, nonce)
            taken = number
    assert taken == 5


def test_a_clock_that_drifts_by_a_hundred_parts_per_million_is_honest_for_a_month():
    node, nonce, step_ms = TestNode(), N0, 20_000
    chain = first_chain("boot-1", nonce, 0)
    limits = ReportLimits(interval_ms=1_000)
    unsigned = node.report(nonce, 0, 1)
    for number in range(1, 130_000):
        mono_ms = number * step_ms + number * step_ms // 10_000
        report = unsigned.model_copy(update={"mono_start_ms": chain.mono_end_ms, "mono_end_ms": mono_ms})
        chain = extend_chain(chain, report, N0, number * step_ms, limits)
        chain = give_nonce(chain, nonce, number * step_ms)
    assert chain.mono_end_ms > 30 * 86_400_000
