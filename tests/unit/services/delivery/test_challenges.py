"""Judging challenges: honest chains pass; other work, other speeds, what is late, missing or held back do not."""

from dataclasses import dataclass, field, replace

import pytest

from agents.node.challenge import NumpyBackend, answer_residency, run_chain
from agents.node.proving import open_gpu
from schemas.nodes import (
    ChallengeCommit,
    ChallengeOpening,
    ChallengeVerdict,
    GpuCommit,
    GpuDigest,
    GpuOpening,
    ResidencyAnswer,
    ResidencyRequest,
)
from services.delivery.bands import SIMULATED, Band
from services.delivery.challenges import (
    ChallengeMismatch,
    ChallengeRules,
    Proof,
    ResidencyProof,
    check_digests,
    check_heads,
    conclude,
    draw,
    is_honest_failure,
    is_undecided,
    judge_opened,
    late_verdict,
    make_challenge,
    may_serve,
    residency_limit_us,
    suspicion,
)
from tests.fixtures.delivery import TestNode, gpu_uuid

RULES = ChallengeRules(n=32, rounds=4, open_rounds=2, open_rows=4)
SECRET = b"s" * 32
BAND = Band("H100SXM80", "uncalibrated", 81_559, 1_000_000, 2_000_000, 3_350 * 10**9, "a test")
CHALLENGE = make_challenge("ch-1", "enrolment", "ab" * 32, TestNode().gpus, 1_000, 2_000, RULES)
OPERATIONS = 4 * 2 * 32**3
IN_BAND_US = OPERATIONS * 1_000_000 // 1_500_000
ASKED_TO_HOLD = ResidencyRequest(challenge_id="ch-1", nonce="cd" * 32, stride=2, deadline_ms=1_600)


@dataclass
class Answer:
    """What a node answers, and how long the venue saw it take."""

    commit: ChallengeCommit
    digests: dict[str, str]
    openings: tuple[GpuOpening, ...]
    seen_us: int = IN_BAND_US
    over_us: int = 0
    residency_lag_us: int = 0
    changes: dict = field(default_factory=dict)

    @property
    def proof(self) -> Proof:
        asked = draw(CHALLENGE, self.commit, SECRET, 1_900, RULES)
        residency = ResidencyProof(ASKED_TO_HOLD, self.digests, self.over_us, self.residency_lag_us)
        facts = {"judges_work": True, "judges_score": True, "residency": residency} | self.changes
        return Proof(CHALLENGE, self.commit, asked, SECRET, self.seen_us, BAND, **facts)


def honest_answer(gpus: tuple[str, ...] = CHALLENGE.gpu_uuids) -> Answer:
    node = TestNode()
    chains = [run_chain(NumpyBackend(), CHALLENGE, node.node_id, gpu) for gpu in gpus]
    heads = tuple(GpuCommit(gpu_uuid=chain.gpu_uuid, head=chain.head.hex()) for chain in chains)
    commit = node.sign(ChallengeCommit, agent=node.node_id, challenge_id="ch-1", backend="numpy", heads=heads)
    held = [answer_residency(chain, node.node_id, ASKED_TO_HOLD.nonce, ASKED_TO_HOLD.stride) for chain in chains]
    asked = draw(CHALLENGE, commit, SECRET, 1_900, RULES)
    opened = tuple(open_gpu(*parts) for parts in zip(chains, asked.gpus, held, strict=True))
    return Answer(commit, {chain.gpu_uuid: h.digest.hex() for chain, h in zip(chains, held, strict=True)}, opened)


def judged(answer: Answer) -> ChallengeVerdict:
    node, proof = TestNode(), answer.proof
    check_heads(CHALLENGE, answer.commit)
    opening = node.sign(ChallengeOpening, agent=node.node_id, challenge_id="ch-1", gpus=answer.openings)
    opened = {verdict.gpu_uuid: verdict for verdict in judge_opened(proof, opening)}
    return conclude(CHALLENGE, BAND, opened, [gpu.gpu_uuid for gpu in proof.asked.gpus], 1_600)


def reasons(answer: Answer) -> list[str]:
    verdict = judged(answer)
    assert verdict.passed == all(gpu.passed for gpu in verdict.gpus)
    return [gpu.reason for gpu in verdict.gpus]


def test_an_honest_answer_in_time_passes_on_every_gpu_with_its_score():
    """Holds [D-26] [D-28]"""
    verdict = judged(honest_answer())
    score = OPERATIONS * 1_000_000 // IN_BAND_US
    assert [(gpu.reason, gpu.operations_per_s) for gpu in verdict.gpus] == [("", score), ("", score)]
    assert (verdict.passed, verdict.band, verdict.simulated, verdict.pending) == (True, "uncalibrated", False, ())


def test_right_work_at_an_odd_speed_is_tried_again_and_reviewed_when_it_comes_often():
    """Holds [D-30]"""
    answer = honest_answer()
    for seen_us, reason, review in (
        (OPERATIONS * 2, "too_slow", "score_below_band"),
        (OPERATIONS // 3, "too_fast", "score_above_band"),
    ):
        verdict = judged(replace(answer, seen_us=seen_us))
        assert [gpu.reason for gpu in verdict.gpus] == [reason, reason]
        assert (is_honest_failure(verdict), may_serve(verdict), suspicion(verdict)) == (True, False, review)


def test_where_the_venue_itself_was_busy_nobody_is_too_slow_and_nobody_passes_for_it():
    """Holds [D-31]"""
    answer, slow_us = honest_answer(), OPERATIONS * 2
    for changes in (
        {"seen_us": slow_us, "changes": {"lag_us": slow_us - IN_BAND_US}},
        {"over_us": 5_000, "residency_lag_us": 5_000},
    ):
        verdict = judged(replace(answer, **changes))
        assert [gpu.reason for gpu in verdict.gpus] == ["venue_busy", "venue_busy"]
        assert (is_undecided(verdict), is_honest_failure(verdict), may_serve(verdict)) == (True, True, True)
        assert suspicion(verdict) == ""
    assert reasons(replace(answer, seen_us=slow_us, changes={"lag_us": 1_000})) == ["too_slow", "too_slow"]
    assert reasons(replace(answer, over_us=5_000, residency_lag_us=4_999)) == ["not_resident", "not_resident"]


def test_a_score_counts_only_while_its_layer_is_on():
    assert reasons(replace(honest_answer(), seen_us=1, changes={"judges_score": False})) == ["", ""]


def test_digests_that_come_late_or_are_of_something_else_fail_and_only_the_latter_is_wrong_work():
    answer = honest_answer()
    late = judged(replace(answer, over_us=1))
    assert [gpu.reason for gpu in late.gpus] == ["not_resident", "not_resident"]
    assert (is_honest_failure(late), suspicion(late)) == (True, "not_resident")
    swapped = dict(zip(answer.digests, reversed(answer.digests.values()), strict=True))
    wrong = judged(replace(answer, digests=swapped))
    assert [gpu.reason for gpu in wrong.gpus] == ["residency_roots_differ", "residency_roots_differ"]
    assert not is_honest_failure(wrong)
    assert reasons(replace(answer, digests=swapped, changes={"residency": None})) == ["", ""]


def test_other_rows_than_those_that_were_folded_are_found_at_the_opening():
    """Holds [D-38]"""
    answer = honest_answer()
    first = answer.openings[0]
    broken = first.rounds[0].rows[0].model_copy(update={"residency_path": ("0" * 64,) * 5})
    rounds = (first.rounds[0].model_copy(update={"rows": (broken, *first.rounds[0].rows[1:])}), *first.rounds[1:])
    opening = first.model_copy(update={"rounds": rounds})
    assert reasons(replace(answer, openings=(opening, answer.openings[1]))) == ["residency_differs", ""]


def test_the_limit_of_residency_is_so_many_readings_of_what_is_touched_and_a_slack():
    """Holds [D-37]"""
    touched_s = 4 * 32**2 * 4 / 2 / BAND.memory_bytes_per_s
    assert residency_limit_us(CHALLENGE, 2, BAND, 3, 100) == int(3 * touched_s * 1_000_000) + 100_000


def test_what_is_not_opened_is_pending_until_its_time_is_over_and_then_held_back():
    answer = honest_answer()
    verdict = judged(replace(answer, openings=answer.openings[:1]))
    assert ([gpu.reason for gpu in verdict.gpus], verdict.pending, verdict.passed) == (
        [""],
        CHALLENGE.gpu_uuids[1:],
        False,
    )
    opened = {verdict.gpus[0].gpu_uuid: verdict.gpus[0]}
    over = late_verdict(CHALLENGE, BAND, 3_000, opened, CHALLENGE.gpu_uuids, CHALLENGE.gpu_uuids)
    assert [gpu.reason for gpu in over.gpus] == ["", "not_opened"]
    assert (is_honest_failure(over), suspicion(over)) == (True, "openings_held_back")


def test_a_challenge_that_nobody_answers_is_late_and_one_left_after_the_commit_is_not_resident():
    silent = late_verdict(CHALLENGE, SIMULATED, 3_000)
    assert ([gpu.reason for gpu in silent.gpus], suspicion(silent), silent.simulated) == (["too_late"] * 2, "", True)
    left = late_verdict(CHALLENGE, BAND, 3_000, committed=CHALLENGE.gpu_uuids[:1])
    assert [gpu.reason for gpu in left.gpus] == ["not_resident", "too_late"]


def test_one_gpu_cannot_answer_for_two():
    answer = honest_answer()
    copied = answer.openings[0].model_copy(update={"gpu_uuid": CHALLENGE.gpu_uuids[1]})
    other = replace(answer, openings=(answer.openings[0], copied))
    assert reasons(other) == ["", "head_differs"]
    assert reasons(replace(other, changes={"judges_work": False, "residency": None})) == ["", ""]


def test_a_lost_gpu_that_claims_nothing_fails_honestly_and_the_rest_may_serve():
    """Holds [D-32]"""
    verdict = judged(honest_answer(CHALLENGE.gpu_uuids[:1]))
    assert [gpu.reason for gpu in verdict.gpus] == ["", "not_answered"]
    assert (verdict.passed, is_honest_failure(verdict), may_serve(verdict)) == (False, True, True)


def test_what_was_not_asked_is_passed_over():
    answer = honest_answer()
    foreign = answer.openings[0].model_copy(update={"gpu_uuid": gpu_uuid(9)})
    assert reasons(replace(answer, openings=(foreign, *answer.openings, answer.openings[0]))) == ["", ""]


def test_heads_and_digests_are_for_the_gpus_that_were_asked_and_one_each():
    """Holds [D-27]"""
    answer, node = honest_answer(), TestNode()
    twice = answer.commit.heads[:1] * 2
    foreign = (answer.commit.heads[0].model_copy(update={"gpu_uuid": gpu_uuid(9)}),)
    for heads in (twice, foreign):
        with pytest.raises(ChallengeMismatch):
            check_heads(CHALLENGE, answer.commit.model_copy(update={"heads": heads}))
    digests = tuple(GpuDigest(gpu_uuid=uuid, digest=digest) for uuid, digest in answer.digests.items())
    for wrong in (digests[:1], digests + digests[:1]):
        with pytest.raises(ChallengeMismatch):
            given = node.sign(ResidencyAnswer, agent=node.node_id, challenge_id="ch-1", gpus=wrong)
            check_digests(answer.commit, given)
