"""When the nonces of one operator's nodes leave at a gate, and what is said of a node that was not there."""

from dataclasses import replace

from services.delivery.challenges import LATE, TOO_SLOW, ChallengeRules, Proof, make_challenge
from services.delivery.joint_gates import Company
from services.delivery.releases import Releases
from tests.fixtures.delivery import TestNode
from tests.unit.services.delivery.test_challenges import BAND, CHALLENGE, IN_BAND_US

NODES = ["node-1", "node-2"]
ASKED = make_challenge("ch-1", "gate", "ab" * 32, TestNode().gpus, 1_000, 9_000, ChallengeRules(32, 4, 2, 4), "lease-1")


def company() -> Company:
    company = Company(until_ms=3_000)
    for node_id in NODES:
        company.by_node[node_id].append(ASKED)
    return company


def test_nonces_leave_when_all_nodes_are_there_and_no_other_gate_is_to_come_or_when_it_was_long_enough():
    """Holds [D-34]"""
    cases = [
        (NODES, False, 1_000),
        (["node-3", *NODES], False, 1_000),
        (NODES, True, 2_999),
        (["node-1"], False, 2_999),
        (["node-1"], True, 3_000),
        ([], False, 3_000),
    ]
    assert [company().is_time(*case) for case in cases] == [True, True, False, False, True, True]


def test_a_node_that_was_absent_and_is_too_slow_was_late_and_one_that_is_quick_enough_passes():
    proof = Proof(CHALLENGE, None, None, b"", seen_us=IN_BAND_US, band=BAND)
    slow = replace(proof, seen_us=10 * IN_BAND_US)
    seen = [slow, replace(slow, was_absent=True), replace(proof, was_absent=True)]
    assert [each.judge_score() for each in seen] == [TOO_SLOW, LATE, ""]


def test_who_was_absent_is_remembered_by_the_challenge():
    releases = Releases()
    releases.note_absent(["ch-1"])
    assert [releases.was_absent("ch-1"), releases.was_absent("ch-2")] == [True, False]
