"""Judging challenges: honest chains pass, another product, another head, a missing GPU and a late answer do not."""

from dataclasses import dataclass, replace

import pytest

from agents.node.challenge import NumpyBackend, open_chain, run_chain
from schemas.nodes import ChallengeCommit, ChallengeOpening, ChallengeVerdict, GpuCommit
from services.delivery.challenges import (
    ChallengeMismatch,
    ChallengeRules,
    check_heads,
    draw,
    is_honest_failure,
    judge,
    late_verdict,
    make_challenge,
    may_serve,
)
from tests.fixtures.delivery import TestNode, gpu_uuid

RULES = ChallengeRules(n=32, rounds=4, open_rounds=2, open_rows=4)
SECRET = b"s" * 32


@dataclass
class Answer:
    """What a node answers, and when."""

    commit: ChallengeCommit
    opening: ChallengeOpening
    committed_ms: int = 1_500
    opened_ms: int = 1_600


CHALLENGE = make_challenge("ch-1", "enrolment", "ab" * 32, TestNode().gpus, 1_000, 2_000, RULES)


def honest_answer(gpus: tuple[str, ...] = CHALLENGE.gpu_uuids) -> Answer:
    node = TestNode()
    chains = [run_chain(NumpyBackend(), CHALLENGE, node.node_id, gpu) for gpu in gpus]
    heads = tuple(GpuCommit(gpu_uuid=chain.gpu_uuid, head=chain.head.hex()) for chain in chains)
    commit = node.sign(ChallengeCommit, agent=node.node_id, challenge_id="ch-1", backend="numpy", heads=heads)
    asked = draw(CHALLENGE, commit, SECRET, 1_900, RULES)
    opened = tuple(open_chain(chain, wanted) for chain, wanted in zip(chains, asked.gpus, strict=True))
    return Answer(commit, node.sign(ChallengeOpening, agent=node.node_id, challenge_id="ch-1", gpus=opened))


def judged(answer: Answer) -> ChallengeVerdict:
    check_heads(CHALLENGE, answer.commit)
    asked = draw(CHALLENGE, answer.commit, SECRET, 1_900, RULES)
    return judge(CHALLENGE, answer.commit, answer.committed_ms, asked, answer.opening, SECRET, answer.opened_ms)


def reasons(answer: Answer) -> list[str]:
    verdict = judged(answer)
    assert verdict.passed == all(gpu.passed for gpu in verdict.gpus)
    return [gpu.reason for gpu in verdict.gpus]


def test_an_honest_answer_in_time_passes_on_every_gpu():
    assert reasons(honest_answer()) == ["", ""]


def test_a_late_commit_or_a_late_opening_fails_as_late_and_nothing_worse():
    answer = honest_answer()
    assert reasons(replace(answer, committed_ms=2_001)) == ["too_late", "too_late"]
    assert reasons(replace(answer, opened_ms=1_901)) == ["too_late", "too_late"]
    assert is_honest_failure(late_verdict(CHALLENGE, 3_000))


def test_a_gpu_that_is_left_out_of_the_opening_fails_alone():
    answer = honest_answer()
    opening = answer.opening.model_copy(update={"gpus": answer.opening.gpus[:1]})
    assert reasons(replace(answer, opening=opening)) == ["", "wrong_shape"]


def test_one_gpu_cannot_answer_for_two():
    answer = honest_answer()
    first = answer.opening.gpus[0]
    copied = first.model_copy(update={"gpu_uuid": CHALLENGE.gpu_uuids[1]})
    assert reasons(replace(answer, opening=answer.opening.model_copy(update={"gpus": (first, copied)}))) == [
        "",
        "head_differs",
    ]


def test_a_lost_gpu_that_claims_nothing_fails_honestly_and_the_rest_may_serve():
    verdict = judged(honest_answer(CHALLENGE.gpu_uuids[:1]))
    assert [gpu.reason for gpu in verdict.gpus] == ["", "not_answered"]
    assert (verdict.passed, is_honest_failure(verdict), may_serve(verdict)) == (False, True, True)


def test_wrong_work_is_no_honest_failure_and_may_not_serve():
    answer = honest_answer()
    swapped = answer.opening.model_copy(update={"gpus": answer.opening.gpus[:1]})
    verdict = judged(replace(answer, opening=swapped))
    assert (is_honest_failure(verdict), may_serve(verdict)) == (False, False)


def test_heads_are_for_the_gpus_that_were_asked_and_one_each():
    answer = honest_answer()
    twice = answer.commit.heads[:1] * 2
    foreign = (answer.commit.heads[0].model_copy(update={"gpu_uuid": gpu_uuid(9)}),)
    for heads in (twice, foreign):
        with pytest.raises(ChallengeMismatch):
            check_heads(CHALLENGE, answer.commit.model_copy(update={"heads": heads}))
